//! Terms as SMT-LIB 2 text.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::solver::Declared;
use super::term::{B, Node, Operation, Terms, V};

/// A question for a solver: free values, what they make, and what is asserted.
#[derive(Debug)]
pub(crate) struct Script<'t> {
    pub(crate) terms: &'t Terms,
    /// What stands in front, as comments.
    pub(crate) about: Vec<String>,
    /// What must hold.
    pub(crate) asserted: Vec<B>,
}

impl Script<'_> {
    /// The free values that the text declares.
    pub(crate) fn declared(&self) -> Vec<Declared> {
        let reachable = self.terms.reachable(&self.asserted).into_iter();
        let free = reachable.filter_map(|id| match self.terms.at(id) {
            (Node::Unknown(_), width) => Some((decided(id), width)),
            (Node::Variable(index), width) => Some((symbol(&self.terms.name(index)), width)),
            _ => None,
        });
        free.collect()
    }

    /// The declarations, definitions and assertions.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for line in self.about.iter().flat_map(|line| line.lines()) {
            let _ = writeln!(text, "; {line}");
        }
        text.push_str("(set-logic QF_BV)\n");
        let mut names: HashMap<u32, String> = HashMap::new();
        for id in self.terms.reachable(&self.asserted) {
            let (node, width) = self.terms.at(id);
            let name = self.write_term(&mut text, &names, (id, node, width));
            names.insert(id, name);
        }
        for asserted in &self.asserted {
            let name = names.get(&Terms::id(*asserted)).map_or("true", String::as_str);
            let _ = writeln!(text, "(assert {name})");
        }
        text
    }

    /// Writes what makes a term, if it needs a line of its own; the words that stand for it.
    fn write_term(
        &self,
        text: &mut String,
        names: &HashMap<u32, String>,
        (id, node, width): (u32, Node, u32),
    ) -> String {
        let of = |part: u32| names.get(&part).map_or("true", String::as_str);
        let parts = Terms::parts(node);
        let mut words = parts.iter().flatten().map(|part| of(*part));
        let mut next = || words.next().unwrap_or("true");
        let made = match node {
            Node::True => return "true".to_owned(),
            Node::False => return "false".to_owned(),
            Node::Constant(value) => return constant(value, width),
            Node::Unknown(index) => {
                let name = decided(id);
                let about = self.terms.name(index);
                let _ = writeln!(text, "(declare-const {name} Bool) ; {about}");
                return name;
            }
            Node::Variable(index) => {
                let name = symbol(&self.terms.name(index));
                let _ = writeln!(text, "(declare-const {name} (_ BitVec {width}))");
                return name;
            }
            // Short ones are written out where they are used.
            Node::Not(_) => return format!("(not {})", next()),
            Node::And(..) => format!("(and {} {})", next(), next()),
            Node::Or(..) => format!("(or {} {})", next(), next()),
            Node::Equal(..) => format!("(= {} {})", next(), next()),
            Node::AtMost(..) => format!("(bvule {} {})", next(), next()),
            Node::Choice(..) => format!("(ite {} {} {})", next(), next(), next()),
            Node::Concat(..) => format!("(concat {} {})", next(), next()),
            Node::Extract(_, high, low) => format!("((_ extract {high} {low}) {})", next()),
            Node::Binary(operation, ..) => {
                format!("({} {} {})", operation_name(operation), next(), next())
            }
        };
        let sort = match width {
            0 => "Bool".to_owned(),
            width => format!("(_ BitVec {width})"),
        };
        // Not as a definition: a solver would write it out wherever it is used.
        let _ = writeln!(text, "(declare-const t{id} {sort})(assert (= t{id} {made}))");
        format!("t{id}")
    }
}

/// The word for a free truth value.
pub(crate) fn decided(id: u32) -> String {
    format!("decided{id}")
}

fn operation_name(operation: Operation) -> &'static str {
    match operation {
        Operation::And => "bvand",
        Operation::Or => "bvor",
        Operation::Xor => "bvxor",
        Operation::Add => "bvadd",
        Operation::Sub => "bvsub",
        Operation::Mul => "bvmul",
        Operation::Rem => "bvurem",
    }
}

/// A number as SMT-LIB writes it.
fn constant(value: u128, width: u32) -> String {
    let digits = width as usize;
    if width.is_multiple_of(4) {
        format!("#x{value:0digits$x}", digits = digits / 4)
    } else {
        format!("#b{value:0digits$b}")
    }
}

/// A name as a symbol.
fn symbol(name: &str) -> String {
    name.replace(|c: char| !c.is_ascii_alphanumeric(), "_")
}

impl Terms {
    /// The words by which a script names a free bit-vector.
    pub(crate) fn word(&self, term: V) -> Option<String> {
        match self.vector(term) {
            Node::Variable(index) => Some(symbol(&self.name(index))),
            _ => None,
        }
    }
}
