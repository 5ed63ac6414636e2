//! Decisions that neither rules nor packet make: chance, history, and what is not known.
//!
//! A run asks the oracle at each such point. The oracle answers from a script; when a run is over,
//! the script is advanced like an odometer until every combination that can occur has occurred.

use crate::simulate::witness::Witness;

/// One decision of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    /// What is taken to be so or not, such as `filter/INPUT/3 matches`.
    pub(crate) question: String,
    /// The answer in this run.
    pub(crate) answer: bool,
    /// Whether the other answer is still to be tried.
    open: bool,
}

/// Answers questions, and remembers which answers are still to be tried.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    decisions: Vec<Decision>,
    asked: usize,
    /// Whether something that decides was not looked at in every way.
    pub(crate) cut: bool,
    /// Who watches the runs, if anybody does.
    pub(crate) witness: Option<Box<dyn Witness>>,
}

impl Oracle {
    /// An oracle of runs that somebody watches.
    pub(crate) fn watched_by(witness: Box<dyn Witness>) -> Self {
        Self { witness: Some(witness), ..Self::default() }
    }

    /// Answers a question; `likely` is tried first.
    pub(crate) fn decide(&mut self, question: impl FnOnce() -> String, likely: bool) -> bool {
        let answer = match self.decisions.get(self.asked) {
            Some(decision) => decision.answer,
            None => {
                let question = self.distinct(question());
                self.decisions.push(Decision { question, answer: likely, open: true });
                likely
            }
        };
        self.asked += 1;
        answer
    }

    /// The same question once more (a chain that is visited twice) gets a number of its own.
    fn distinct(&self, question: String) -> String {
        let is_asked = |asked: &str| self.decisions.iter().any(|d| d.question == asked);
        if !is_asked(&question) {
            return question;
        }
        let mut numbered = (2..).map(|visit| format!("{question} (visit {visit})"));
        numbered.find(|candidate| !is_asked(candidate)).unwrap_or(question)
    }

    /// The decisions of the run that just ended.
    pub(crate) fn decisions(&self) -> Vec<(String, bool)> {
        self.decisions.iter().map(|d| (d.question.clone(), d.answer)).collect()
    }

    /// An oracle that gives the same answers once more, and the likely ones beyond.
    pub(crate) fn replay(&self) -> Self {
        let asked = self.decisions.get(..self.asked).unwrap_or(&self.decisions);
        Self { decisions: asked.to_vec(), ..Self::default() }
    }

    /// Prepares the next run; false when every combination was tried.
    pub(crate) fn advance(&mut self) -> bool {
        self.decisions.truncate(self.asked);
        self.asked = 0;
        while let Some(last) = self.decisions.last_mut() {
            if last.open {
                last.open = false;
                last.answer = !last.answer;
                return true;
            }
            self.decisions.pop();
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_that_occurs_is_tried_once() {
        let mut oracle = Oracle::default();
        let mut seen = Vec::new();
        loop {
            let first = oracle.decide(|| "a".into(), true);
            // The second question is only asked where the first was answered with yes.
            let second = first && oracle.decide(|| "b".into(), false);
            seen.push((first, second));
            if !oracle.advance() {
                break;
            }
        }
        assert_eq!(seen, [(true, false), (true, true), (false, false)]);
    }

    #[test]
    fn a_question_that_is_asked_twice_has_two_names() {
        let mut oracle = Oracle::default();
        for _ in 0..3 {
            oracle.decide(|| "a".into(), true);
        }
        let names: Vec<String> = oracle.decisions().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["a", "a (visit 2)", "a (visit 3)"]);
    }

    #[test]
    fn without_questions_there_is_one_run() {
        assert!(!Oracle::default().advance());
    }
}
