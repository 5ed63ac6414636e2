//! Terms of bit-vector logic: every distinct one is kept once, and simplified where it is made.

use std::cell::RefCell;
use std::collections::HashMap;

/// A truth value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct B(u32);

/// A bit-vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct V(u32);

/// An operation on two bit-vectors of the same width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    And,
    Or,
    Xor,
    Add,
    Sub,
    Mul,
    Rem,
}

/// A term as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Node {
    True,
    False,
    /// A free truth value, by the index of its name.
    Unknown(u32),
    Not(B),
    And(B, B),
    Or(B, B),
    Equal(V, V),
    /// Unsigned, less or equal.
    AtMost(V, V),
    Constant(u128),
    /// A free bit-vector, by the index of its name.
    Variable(u32),
    Choice(B, V, V),
    Binary(Operation, V, V),
    /// The bits from the first number down to the second one.
    Extract(V, u32, u32),
    Concat(V, V),
}

/// How deep a comparison with a constant is carried into a choice.
const DEEPEST: u32 = 64;

#[derive(Debug, Default)]
struct Arena {
    nodes: Vec<(Node, u32)>,
    known: HashMap<(Node, u32), u32>,
    names: Vec<String>,
}

impl Arena {
    fn make(&mut self, node: Node, width: u32) -> u32 {
        if let Some(known) = self.known.get(&(node, width)) {
            return *known;
        }
        let id = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        self.nodes.push((node, width));
        self.known.insert((node, width), id);
        id
    }

    fn at(&self, id: u32) -> (Node, u32) {
        self.nodes.get(id as usize).copied().unwrap_or((Node::False, 0))
    }
}

/// All terms of an encoding.
#[derive(Debug)]
pub(crate) struct Terms {
    arena: RefCell<Arena>,
    /// Always.
    pub(crate) yes: B,
    /// Never.
    pub(crate) no: B,
}

/// The highest value of a width.
fn highest(width: u32) -> u128 {
    u128::MAX.checked_shr(128 - width.min(128)).unwrap_or(0)
}

impl Terms {
    /// No terms but the two constants.
    pub(crate) fn new() -> Self {
        let mut arena = Arena::default();
        let yes = B(arena.make(Node::True, 0));
        let no = B(arena.make(Node::False, 0));
        Self { arena: RefCell::new(arena), yes, no }
    }

    /// How many terms there are.
    pub(crate) fn len(&self) -> usize {
        self.arena.borrow().nodes.len()
    }

    fn make(&self, node: Node, width: u32) -> u32 {
        self.arena.borrow_mut().make(node, width)
    }

    /// A term and its width; 0 for a truth value.
    pub(crate) fn at(&self, id: u32) -> (Node, u32) {
        self.arena.borrow().at(id)
    }

    fn node(&self, term: B) -> Node {
        self.at(term.0).0
    }

    /// What a bit-vector is made of.
    pub(crate) fn vector(&self, term: V) -> Node {
        self.at(term.0).0
    }

    /// The number of a truth value among the terms.
    pub(crate) fn id(term: B) -> u32 {
        term.0
    }

    /// The numbers of the terms that a term is made of.
    pub(crate) fn parts(node: Node) -> [Option<u32>; 3] {
        match node {
            Node::True | Node::False | Node::Unknown(_) | Node::Constant(_) | Node::Variable(_) => {
                [None; 3]
            }
            Node::Not(a) => [Some(a.0), None, None],
            Node::And(a, b) | Node::Or(a, b) => [Some(a.0), Some(b.0), None],
            Node::Equal(a, b) | Node::AtMost(a, b) | Node::Binary(_, a, b) | Node::Concat(a, b) => {
                [Some(a.0), Some(b.0), None]
            }
            Node::Extract(a, ..) => [Some(a.0), None, None],
            Node::Choice(c, a, b) => [Some(c.0), Some(a.0), Some(b.0)],
        }
    }

    /// The name of a free value.
    pub(crate) fn name(&self, index: u32) -> String {
        self.arena.borrow().names.get(index as usize).cloned().unwrap_or_default()
    }

    fn named(&self, name: &str) -> u32 {
        let mut arena = self.arena.borrow_mut();
        let index = u32::try_from(arena.names.len()).unwrap_or(u32::MAX);
        arena.names.push(name.to_owned());
        index
    }

    /// A new free truth value; the name need not be unique.
    pub(crate) fn unknown(&self, name: &str) -> B {
        let index = self.named(name);
        B(self.make(Node::Unknown(index), 0))
    }

    /// A new free bit-vector.
    pub(crate) fn variable(&self, name: &str, width: u32) -> V {
        let index = self.named(name);
        V(self.make(Node::Variable(index), width))
    }

    /// A known truth value.
    pub(crate) fn is(&self, value: bool) -> B {
        if value { self.yes } else { self.no }
    }

    /// A known number.
    pub(crate) fn number(&self, width: u32, value: impl Into<u128>) -> V {
        V(self.make(Node::Constant(value.into() & highest(width)), width))
    }

    /// The number, where it is known.
    pub(crate) fn value(&self, term: V) -> Option<u128> {
        match self.at(term.0).0 {
            Node::Constant(value) => Some(value),
            _ => None,
        }
    }

    /// The width of a bit-vector.
    pub(crate) fn width(&self, term: V) -> u32 {
        self.at(term.0).1
    }

    pub(crate) fn not(&self, a: B) -> B {
        match self.node(a) {
            Node::True => self.no,
            Node::False => self.yes,
            Node::Not(inner) => inner,
            _ => B(self.make(Node::Not(a), 0)),
        }
    }

    pub(crate) fn and(&self, a: B, b: B) -> B {
        let (a, b) = if a <= b { (a, b) } else { (b, a) };
        if a == self.no || b == self.no || a == self.not(b) {
            return self.no;
        }
        if a == self.yes || a == b {
            return b;
        }
        if b == self.yes {
            return a;
        }
        for (one, other) in [(a, b), (b, a)] {
            match self.node(other) {
                Node::And(c, d) if c == one || d == one => return other,
                Node::Or(c, d) if c == one || d == one => return one,
                Node::Not(inner) => match self.node(inner) {
                    // a and not (a and x) is a and not x.
                    Node::And(c, d) if c == one => return self.and(one, self.not(d)),
                    Node::And(c, d) if d == one => return self.and(one, self.not(c)),
                    Node::Or(c, d) if c == one || d == one => return self.no,
                    _ => {}
                },
                _ => {}
            }
        }
        B(self.make(Node::And(a, b), 0))
    }

    pub(crate) fn or(&self, a: B, b: B) -> B {
        let (a, b) = if a <= b { (a, b) } else { (b, a) };
        if a == self.yes || b == self.yes || a == self.not(b) {
            return self.yes;
        }
        if a == self.no || a == b {
            return b;
        }
        if b == self.no {
            return a;
        }
        for (one, other) in [(a, b), (b, a)] {
            match self.node(other) {
                Node::Or(c, d) if c == one || d == one => return other,
                Node::And(c, d) if c == one || d == one => return one,
                // a or (not a and x) is a or x.
                Node::And(c, d) if self.node(c) == Node::Not(one) => return self.or(one, d),
                Node::And(c, d) if self.node(d) == Node::Not(one) => return self.or(one, c),
                _ => {}
            }
        }
        if let (Node::And(c, d), Node::And(e, f)) = (self.node(a), self.node(b)) {
            // (x and y) or (x and not y) is x.
            for (x, y) in [(c, d), (d, c)] {
                if (e == x && f == self.not(y)) || (f == x && e == self.not(y)) {
                    return x;
                }
            }
        }
        B(self.make(Node::Or(a, b), 0))
    }

    /// The first without the second.
    pub(crate) fn minus(&self, a: B, b: B) -> B {
        self.and(a, self.not(b))
    }

    /// Whether the second follows from the first.
    pub(crate) fn implies(&self, a: B, b: B) -> B {
        self.or(self.not(a), b)
    }

    pub(crate) fn all(&self, terms: impl IntoIterator<Item = B>) -> B {
        terms.into_iter().fold(self.yes, |all, term| self.and(all, term))
    }

    pub(crate) fn any(&self, terms: impl IntoIterator<Item = B>) -> B {
        terms.into_iter().fold(self.no, |any, term| self.or(any, term))
    }

    /// One truth value or another.
    pub(crate) fn either(&self, condition: B, a: B, b: B) -> B {
        if a == b {
            return a;
        }
        self.or(self.and(condition, a), self.minus(b, condition))
    }

    /// One bit-vector or another.
    pub(crate) fn choice(&self, condition: B, a: V, b: V) -> V {
        match self.node(condition) {
            Node::True => return a,
            Node::False => return b,
            Node::Not(inner) => return self.choice(inner, b, a),
            _ if a == b => return a,
            _ => {}
        }
        // Under the condition, what it chose before is chosen again.
        let b = match self.at(b.0).0 {
            Node::Choice(c, _, other) if c == condition => other,
            _ => b,
        };
        let a = match self.at(a.0).0 {
            Node::Choice(c, own, _) if c == condition => own,
            _ => a,
        };
        if a == b {
            return a;
        }
        if let Node::Choice(c, own, other) = self.at(b.0).0
            && own == a
        {
            return self.choice(self.or(condition, c), a, other);
        }
        V(self.make(Node::Choice(condition, a, b), self.width(b)))
    }

    pub(crate) fn equal(&self, a: V, b: V) -> B {
        self.equal_within(a, b, DEEPEST)
    }

    fn equal_within(&self, a: V, b: V, depth: u32) -> B {
        if a == b {
            return self.yes;
        }
        let (a, b) = if a <= b { (a, b) } else { (b, a) };
        match (self.value(a), self.value(b)) {
            (Some(one), Some(other)) => return self.is(one == other),
            (Some(_), None) => return self.equal_to(b, a, depth),
            (None, Some(_)) => return self.equal_to(a, b, depth),
            (None, None) => {}
        }
        B(self.make(Node::Equal(a, b), 0))
    }

    /// Whether a term is a known number; carried into choices between known numbers.
    fn equal_to(&self, term: V, number: V, depth: u32) -> B {
        if depth > 0
            && let Node::Choice(condition, a, b) = self.at(term.0).0
            && (self.value(a).is_some() || self.value(b).is_some())
        {
            let one = self.equal_within(a, number, depth - 1);
            let other = self.equal_within(b, number, depth - 1);
            return self.either(condition, one, other);
        }
        B(self.make(Node::Equal(term, number), 0))
    }

    /// Whether a term is this number.
    pub(crate) fn is_number(&self, term: V, number: impl Into<u128>) -> B {
        self.equal(term, self.number(self.width(term), number))
    }

    pub(crate) fn at_most(&self, a: V, b: V) -> B {
        if a == b {
            return self.yes;
        }
        match (self.value(a), self.value(b)) {
            (Some(one), Some(other)) => self.is(one <= other),
            (Some(0), None) => self.yes,
            (None, Some(other)) if other == highest(self.width(a)) => self.yes,
            _ => B(self.make(Node::AtMost(a, b), 0)),
        }
    }

    /// Whether a term lies between two numbers, both inclusive.
    pub(crate) fn within(&self, term: V, first: impl Into<u128>, last: impl Into<u128>) -> B {
        let (first, last) = (first.into(), last.into());
        if first == last {
            return self.is_number(term, first);
        }
        let width = self.width(term);
        let from = self.at_most(self.number(width, first), term);
        self.and(from, self.at_most(term, self.number(width, last)))
    }

    pub(crate) fn binary(&self, operation: Operation, a: V, b: V) -> V {
        let width = self.width(a);
        let all = highest(width);
        match (self.value(a), self.value(b)) {
            (Some(one), Some(other)) => {
                let result = match operation {
                    Operation::And => one & other,
                    Operation::Or => one | other,
                    Operation::Xor => one ^ other,
                    Operation::Add => one.wrapping_add(other),
                    Operation::Sub => one.wrapping_sub(other),
                    Operation::Mul => one.wrapping_mul(other),
                    Operation::Rem => one.checked_rem(other).unwrap_or(one),
                };
                return self.number(width, result);
            }
            (None, Some(_)) if operation == Operation::And || operation == Operation::Or => {
                return self.binary(operation, b, a);
            }
            (Some(0), None) if operation == Operation::And => return a,
            (Some(0), None) if matches!(operation, Operation::Or | Operation::Xor) => return b,
            (Some(0), None) if operation == Operation::Add => return b,
            (Some(one), None) if operation == Operation::And && one == all => return b,
            (None, Some(0))
                if matches!(operation, Operation::Add | Operation::Sub | Operation::Xor) =>
            {
                return a;
            }
            _ => {}
        }
        V(self.make(Node::Binary(operation, a, b), width))
    }

    /// `a & mask` with a known mask.
    pub(crate) fn masked(&self, a: V, mask: impl Into<u128>) -> V {
        self.binary(Operation::And, a, self.number(self.width(a), mask))
    }

    /// The bits from the first number down to the second one.
    pub(crate) fn extract(&self, a: V, high: u32, low: u32) -> V {
        let width = high.saturating_sub(low) + 1;
        if low == 0 && width == self.width(a) {
            return a;
        }
        match self.at(a.0).0 {
            Node::Constant(value) => self.number(width, value.checked_shr(low).unwrap_or(0)),
            _ => V(self.make(Node::Extract(a, high, low), width)),
        }
    }

    pub(crate) fn concat(&self, a: V, b: V) -> V {
        let (left, right) = (self.width(a), self.width(b));
        match (self.value(a), self.value(b)) {
            (Some(one), Some(other)) => self.number(left + right, one << right | other),
            _ => V(self.make(Node::Concat(a, b), left + right)),
        }
    }

    /// The same number in more bits.
    pub(crate) fn widened(&self, a: V, width: u32) -> V {
        match width.checked_sub(self.width(a)) {
            None | Some(0) => a,
            Some(more) => self.concat(self.number(more, 0u8), a),
        }
    }

    /// Shifted to the right by a known number of bits.
    pub(crate) fn shifted_right(&self, a: V, by: u32) -> V {
        let width = self.width(a);
        match by {
            0 => a,
            by if by >= width => self.number(width, 0u8),
            by => self.widened(self.extract(a, width - 1, by), width),
        }
    }

    /// Shifted to the left by a known number of bits.
    pub(crate) fn shifted_left(&self, a: V, by: u32) -> V {
        let width = self.width(a);
        match by {
            0 => a,
            by if by >= width => self.number(width, 0u8),
            by => self.concat(self.extract(a, width - 1 - by, 0), self.number(by, 0u8)),
        }
    }

    /// Rotated to the left.
    pub(crate) fn rotated_left(&self, a: V, by: u32) -> V {
        let width = self.width(a);
        let high = self.extract(a, width - 1 - by, 0);
        self.concat(high, self.extract(a, width - 1, width - by))
    }

    /// The terms that some are made of, themselves included, in an order in which what a term is
    /// made of stands before it.
    pub(crate) fn reachable(&self, roots: &[B]) -> Vec<u32> {
        let arena = self.arena.borrow();
        let mut seen = vec![false; arena.nodes.len()];
        let mut todo: Vec<u32> = roots.iter().map(|root| root.0).collect();
        while let Some(id) = todo.pop() {
            let Some(mark) = seen.get_mut(id as usize) else { continue };
            if !std::mem::replace(mark, true) {
                todo.extend(Self::parts(arena.at(id).0).into_iter().flatten());
            }
        }
        // A term is made after its parts.
        (0u32..).zip(seen).filter_map(|(id, seen)| seen.then_some(id)).collect()
    }

    /// The term with some free truth values settled.
    pub(crate) fn settled(&self, root: B, known: &HashMap<u32, bool>) -> B {
        let mut now: HashMap<u32, u32> = HashMap::new();
        for id in self.reachable(&[root]) {
            let (node, _) = self.at(id);
            let of = |id: u32| now.get(&id).copied().unwrap_or(id);
            let b = |term: B| B(of(term.0));
            let v = |term: V| V(of(term.0));
            let made = match node {
                Node::Unknown(_) => known.get(&id).map_or(id, |value| self.is(*value).0),
                Node::True | Node::False | Node::Constant(_) | Node::Variable(_) => id,
                Node::Not(a) => self.not(b(a)).0,
                Node::And(x, y) => self.and(b(x), b(y)).0,
                Node::Or(x, y) => self.or(b(x), b(y)).0,
                Node::Equal(x, y) => self.equal(v(x), v(y)).0,
                Node::AtMost(x, y) => self.at_most(v(x), v(y)).0,
                Node::Choice(c, x, y) => self.choice(b(c), v(x), v(y)).0,
                Node::Binary(operation, x, y) => self.binary(operation, v(x), v(y)).0,
                Node::Extract(x, high, low) => self.extract(v(x), high, low).0,
                Node::Concat(x, y) => self.concat(v(x), v(y)).0,
            };
            now.insert(id, made);
        }
        B(now.get(&root.0).copied().unwrap_or(root.0))
    }
}
