//! All declared extensions, and their lookup by name.

use super::{Extension, ExtensionKind};
use crate::{matches, targets};

/// All declared extensions: the matches, then the targets.
pub static EXTENSIONS: [&[&Extension]; 2] = [matches::ALL, targets::ALL];

/// How many buckets the lookup table has; names are some hundred.
const BUCKETS: usize = 512;

/// Marks an empty bucket.
const EMPTY: u16 = u16::MAX;

/// For each bucket the number of an extension; built by the compiler, open addressing.
static TABLE: [u16; BUCKETS] = table();

/// The extension of this name and kind.
///
/// This is asked for twice a rule, so it costs one bucket and one comparison.
#[must_use]
pub fn find(kind: ExtensionKind, name: &str) -> Option<&'static Extension> {
    let mut bucket = bucket_of(name.as_bytes());
    loop {
        let number = usize::from(*TABLE.get(bucket)?);
        let extension = match number.checked_sub(matches::ALL.len()) {
            _ if number == usize::from(EMPTY) => return None,
            None => matches::ALL.get(number)?,
            Some(target) => targets::ALL.get(target)?,
        };
        if extension.name == name && extension.kind == kind {
            return Some(extension);
        }
        bucket = (bucket + 1) % BUCKETS;
    }
}

/// The bucket where the search for a name begins.
#[expect(clippy::indexing_slicing, reason = "a const fn; each index is below the length")]
const fn bucket_of(name: &[u8]) -> usize {
    let length = name.len();
    if length == 0 {
        return 0;
    }
    let (first, middle, last) = (name[0], name[length / 2], name[length - 1]);
    (length * 37 + first as usize * 5 + middle as usize * 11 + last as usize * 17) % BUCKETS
}

#[expect(clippy::indexing_slicing, reason = "runs in the compiler; each index is below a length")]
#[expect(clippy::cast_possible_truncation, reason = "there are fewer extensions than buckets")]
const fn table() -> [u16; BUCKETS] {
    let mut table = [EMPTY; BUCKETS];
    let total = matches::ALL.len() + targets::ALL.len();
    let mut number = 0;
    while number < total {
        let extension = if number < matches::ALL.len() {
            matches::ALL[number]
        } else {
            targets::ALL[number - matches::ALL.len()]
        };
        let mut bucket = bucket_of(extension.name.as_bytes());
        while table[bucket] != EMPTY {
            bucket = (bucket + 1) % BUCKETS;
        }
        table[bucket] = number as u16;
        number += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_extension_is_found_by_its_name() {
        for extension in EXTENSIONS.iter().copied().flatten() {
            let found = find(extension.kind, extension.name).expect(extension.name);
            assert!(std::ptr::eq(found, *extension), "{} is declared twice", extension.name);
        }
        assert!(find(ExtensionKind::Match, "frobnicate").is_none());
        assert!(find(ExtensionKind::Target, "tcp").is_none());
    }

    #[test]
    fn no_option_has_two_meanings() {
        for extension in EXTENSIONS.iter().copied().flatten() {
            let mut names: Vec<&str> = extension.spellings().map(|(name, ..)| name).collect();
            names.sort_unstable();
            let count = names.len();
            names.dedup();
            assert_eq!(names.len(), count, "{}", extension.name);
        }
    }
}
