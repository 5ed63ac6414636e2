//! Values of one dimension as sorted ranges, and products of them.

/// Sorted ranges that don't touch, both ends inclusive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ranges(Vec<(u128, u128)>);

impl Ranges {
    /// One range; none of values where its ends are the wrong way round.
    pub(super) fn one(first: u128, last: u128) -> Self {
        if first <= last { Self(vec![(first, last)]) } else { Self::none() }
    }

    pub(super) fn none() -> Self {
        Self(Vec::new())
    }

    pub(super) fn of(mut ranges: Vec<(u128, u128)>) -> Self {
        ranges.retain(|(first, last)| first <= last);
        ranges.sort_unstable();
        let mut all: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match all.last_mut() {
                Some((_, end)) if end.checked_add(1).is_none_or(|next| first <= next) => {
                    *end = (*end).max(last);
                }
                _ => all.push((first, last)),
            }
        }
        Self(all)
    }

    /// Those of some values, from 0 on, of which something holds.
    pub(super) fn of_values(values: u128, holds: impl Fn(u128) -> bool) -> Self {
        Self::of((0..values).filter(|value| holds(*value)).map(|value| (value, value)).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn as_slice(&self) -> &[(u128, u128)] {
        &self.0
    }

    /// The lowest value.
    pub(super) fn first(&self) -> Option<u128> {
        self.0.first().map(|(first, _)| *first)
    }

    /// The highest value.
    pub(super) fn last(&self) -> Option<u128> {
        self.0.last().map(|(_, last)| *last)
    }

    /// The range that a value is in.
    pub(super) fn around(&self, value: u128) -> Option<(u128, u128)> {
        let at = self.0.partition_point(|(_, last)| *last < value);
        self.0.get(at).copied().filter(|(first, _)| *first <= value)
    }

    pub(super) fn intersection(&self, other: &Self) -> Self {
        let mut all = Vec::new();
        let (mut one, mut two) = (0, 0);
        while let (Some(a), Some(b)) = (self.0.get(one), other.0.get(two)) {
            let (first, last) = (a.0.max(b.0), a.1.min(b.1));
            if first <= last {
                all.push((first, last));
            }
            if a.1 <= b.1 { one += 1 } else { two += 1 }
        }
        Self(all)
    }

    /// The values up to `most` that are not in it.
    pub(super) fn complement(&self, most: u128) -> Self {
        let mut all = Vec::new();
        let mut next = Some(0);
        for (first, last) in &self.0 {
            if let Some(from) = next.filter(|from| from < first) {
                all.push((from, first - 1));
            }
            next = last.checked_add(1);
        }
        if let Some(from) = next.filter(|from| *from <= most) {
            all.push((from, most));
        }
        Self(all)
    }

    /// Those in a range, and those that are not.
    pub(super) fn split(&self, within: (u128, u128)) -> (Self, Self) {
        let inside = Self::one(within.0, within.1);
        let outside = inside.complement(u128::MAX);
        (self.intersection(&inside), self.intersection(&outside))
    }
}

/// Packets: every combination of the values of each dimension.
pub(super) type Product = Vec<Ranges>;

/// One packet: its value in each dimension.
pub(super) type Point = Vec<u128>;

/// A range in each dimension.
pub(super) type Cube = Vec<(u128, u128)>;

/// What is left of a product without a cube, in products that have nothing in common.
pub(super) fn without(product: &Product, cube: &Cube) -> Vec<Product> {
    let mut left = Vec::new();
    let mut rest = product.clone();
    for (at, range) in cube.iter().enumerate() {
        let Some(own) = rest.get(at) else { continue };
        if own.first() >= Some(range.0) && own.last().is_some_and(|last| last <= range.1) {
            continue;
        }
        let (inside, outside) = own.split(*range);
        if !outside.is_empty() {
            let mut part = rest.clone();
            if let Some(own) = part.get_mut(at) {
                *own = outside;
            }
            left.push(part);
        }
        if inside.is_empty() {
            break;
        }
        if let Some(own) = rest.get_mut(at) {
            *own = inside;
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut() {
        let some = Ranges::of(vec![(5, 9), (0, 1), (2, 3)]);
        assert_eq!(some.as_slice(), [(0, 3), (5, 9)]);
        assert_eq!(some.complement(12).as_slice(), [(4, 4), (10, 12)]);
        assert_eq!(some.complement(9).as_slice(), [(4, 4)]);
        assert_eq!(some.intersection(&Ranges::one(3, 6)).as_slice(), [(3, 3), (5, 6)]);
        assert!(Ranges::one(2, 1).is_empty());
        assert_eq!(some.around(6), Some((5, 9)));
        assert_eq!(some.around(4), None);
        assert_eq!(Ranges::one(0, u128::MAX).complement(u128::MAX), Ranges::none());
        let (inside, outside) = some.split((1, 5));
        assert_eq!(
            (inside.as_slice(), outside.as_slice()),
            (&[(1, 3), (5, 5)][..], &[(0, 0), (6, 9)][..])
        );
    }

    #[test]
    fn what_is_left_has_nothing_in_common() {
        let all = vec![Ranges::one(0, 9), Ranges::one(0, 9)];
        let left = without(&all, &vec![(2, 3), (0, 4)]);
        let holds = |product: &Product, x: u128, y: u128| {
            product[0].around(x).is_some() && product[1].around(y).is_some()
        };
        for x in 0..10 {
            for y in 0..10 {
                let inside = (2..=3).contains(&x) && y <= 4;
                let found = left.iter().filter(|product| holds(product, x, y)).count();
                assert_eq!(found, usize::from(!inside), "{x} {y}");
            }
        }
    }
}
