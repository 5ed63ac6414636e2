//! Ports that NAT draws by chance: the simulator carries one that may be drawn, and remembers from
//! which range.

use crate::condition::Undecided;
use crate::simulate::matching::Ternary;

/// The first and last port that may be drawn.
pub(crate) type PortRange = (u16, u16);

/// Which ports of a packet were drawn by chance, and from which range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Drawn {
    pub(crate) source: Option<PortRange>,
    pub(crate) destination: Option<PortRange>,
}

impl Drawn {
    /// The ports of an answer to a packet with these.
    pub(crate) fn of_answer(self) -> Self {
        Self { source: self.destination, destination: self.source }
    }
}

/// Where the kernel looks for another port in place of one, where no range is named: privileged
/// ports stay privileged (`nf_nat_l4proto_unique_tuple`, kernel-facts B8).
pub(crate) fn class_of(port: u16) -> PortRange {
    match port {
        0..512 => (1, 511),
        512..1024 => (600, 1023),
        1024.. => (1024, u16::MAX),
    }
}

/// Whether a port lies in one of some ranges; nobody can say where it was drawn from a range that
/// lies in them in part.
pub(crate) fn within(port: u16, drawn: Option<PortRange>, ranges: &[PortRange]) -> Ternary {
    let contains = |port: u16| ranges.iter().any(|(first, last)| (*first..=*last).contains(&port));
    let Some((first, last)) = drawn else { return contains(port).into() };
    let touched = ranges.iter().any(|(low, high)| *low <= last && first <= *high);
    let covered = ranges.iter().any(|(low, high)| *low <= first && last <= *high);
    match (touched, covered) {
        (false, _) => Ternary::No,
        (true, true) => Ternary::Yes,
        (true, false) => Ternary::May(Undecided::Chance { at_first: Some(contains(port)) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawn_port_is_known_by_its_range_alone() {
        let drawn = Some((5000, 5010));
        assert_eq!(within(5000, drawn, &[(1, 4999), (5011, 9000)]), Ternary::No);
        assert_eq!(within(5000, drawn, &[(80, 80), (5000, 6000)]), Ternary::Yes);
        let unsure = |likely| Ternary::May(Undecided::Chance { at_first: Some(likely) });
        assert_eq!(within(5000, drawn, &[(5010, 5010)]), unsure(false));
        assert_eq!(within(5000, drawn, &[(4000, 5000)]), unsure(true));
        assert_eq!(within(5000, None, &[(5010, 5010)]), Ternary::No);
    }

    // kernel-facts B8
    #[test]
    fn a_port_is_replaced_by_one_of_its_class() {
        assert_eq!([53, 600, 1024].map(class_of), [(1, 511), (600, 1023), (1024, 65535)]);
    }
}
