//! An answer in one line.

use std::fmt::Write;

use nattrace_model::answer::{Answer, Outcome, Verdict};

use super::context::Context;
use super::{names, words};

/// The line, without a newline: who to whom, the outcome, and what did it.
pub(crate) fn render(context: &Context<'_>, answer: &Answer) -> String {
    let (source, destination) = words::flow_ends(&answer.flow);
    let protocol = names::Protocol::new(answer.flow.protocol, answer.flow.source);
    let outcome = names::outcome(answer.outcome);
    let verdict = words::verdict_words(context, answer);
    let mut line = format!("{source} -> {destination}/{protocol}: {outcome}, {verdict}");
    if let Some(proxy) = answer.proxy.as_ref().filter(|_| answer.verdict == Verdict::Proxied) {
        let _ = write!(line, "; docker-proxy: {}", render(context, proxy));
    }
    if let Some(because) = words::reason(answer, &verdict) {
        let _ = write!(line, ": {because}");
    }
    line
}

/// The same, with what it rests on that nobody measured.
pub(crate) fn line(context: &Context<'_>, answer: &Answer) -> String {
    let mut line = render(context, answer);
    if !answer.branches.is_empty() && answer.outcome == Outcome::Undetermined {
        let open = words::open_questions(answer);
        if let Some((first, others)) = open.split_first() {
            let _ = write!(line, ": whether {} is not known", words::visible(first));
            if !others.is_empty() {
                let _ = write!(line, ", nor {} more", others.len());
            }
        }
    }
    if !answer.assumptions.is_empty() {
        let mut codes: Vec<&str> = Vec::new();
        for assumption in &answer.assumptions {
            if !codes.contains(&assumption.code) {
                codes.push(assumption.code);
            }
        }
        let _ = write!(line, " [assumed: {}]", codes.join(", "));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::sample;

    #[test]
    fn everything_fits_in_one_line() {
        let system = sample::system();
        let line = render(&Context::new(&system), &sample::answer(&system));
        assert_eq!(line.lines().count(), 1);
        insta::assert_snapshot!(line);
    }
}
