//! The columns of a row: counters, target, protocol, options, interfaces, addresses, and the text
//! behind them.
//!
//! Pastes lose their alignment and rows may have no target, so a row is read by its grammar: each
//! combination of columns that may be there is tried, and the one that fits best is taken. The
//! header row and the position of the first word only decide between equals.

use super::names::{Place, place};
use super::piece::{Cursor, Piece};
use crate::protocols;
use crate::syntax::{Counters, Family};

/// The columns that a header row names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    /// `num`, of `--line-numbers`.
    pub(super) number: bool,
    /// `pkts bytes … in out`, of `-v`.
    pub(super) verbose: bool,
    /// How many characters stand before `target`.
    target: usize,
}

impl Columns {
    /// The columns that a line names, if it is a header row.
    pub(super) fn of(line: Piece<'_>) -> Option<Self> {
        let mut columns = Self { number: false, verbose: false, target: 0 };
        let mut expected =
            ["num", "pkts", "bytes", "target", "prot", "opt", "in", "out", "source", "destination"]
                .iter();
        let (mut target, mut destination) = (false, false);
        for word in line.words() {
            expected.by_ref().find(|name| word.text.eq_ignore_ascii_case(name))?;
            match word.text {
                "num" => columns.number = true,
                "pkts" => columns.verbose = true,
                "target" => {
                    target = true;
                    let before = word.start - line.start;
                    columns.target = line.take(before).text.chars().count();
                }
                "destination" => destination = true,
                _ => {}
            }
        }
        (target && destination).then_some(columns)
    }
}

/// A value that `!` may stand before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field<'a> {
    pub(super) negated: bool,
    /// The value without its `!`.
    pub(super) value: Piece<'a>,
    /// The value with its `!`.
    pub(super) whole: Piece<'a>,
}

/// The `opt` column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fragment {
    /// `--`, or nothing in ip6tables of old.
    Any,
    /// `-f`.
    Only,
    /// `!f`.
    Not,
}

/// One row of a listing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a> {
    /// The whole row.
    pub(super) piece: Piece<'a>,
    /// Its number, of `--line-numbers`.
    pub(super) number: Option<u32>,
    pub(super) counters: Option<Counters>,
    pub(super) target: Option<Piece<'a>>,
    pub(super) protocol: Field<'a>,
    pub(super) fragment: Fragment,
    pub(super) fragment_piece: Piece<'a>,
    /// The in and out columns of `-v`.
    pub(super) interfaces: Option<(Field<'a>, Field<'a>)>,
    pub(super) source: Field<'a>,
    pub(super) destination: Field<'a>,
    /// What matches and the target add.
    pub(super) extra: Piece<'a>,
    /// The family of its addresses, where they tell.
    pub(super) address_family: Option<Family>,
}

/// Which columns a row is tried with.
#[derive(Clone, Copy, Debug)]
struct Shape {
    number: bool,
    verbose: bool,
    target: bool,
    opt: bool,
}

impl<'a> Row<'a> {
    /// Reads a line as a row; `None` if it can't be one.
    pub(super) fn read(line: Piece<'a>, columns: Option<Columns>) -> Option<Self> {
        let piece = line.trim();
        let mut best: Option<(u32, Self)> = None;
        for shape in shapes() {
            let Some((fit, row)) = Self::fit(line, piece, columns, shape) else { continue };
            if best.is_none_or(|(best, _)| fit > best) {
                best = Some((fit, row));
            }
        }
        best.map(|(_, row)| row)
    }

    /// Reads the line with these columns; how well that fits, and the row.
    fn fit(
        line: Piece<'a>,
        piece: Piece<'a>,
        columns: Option<Columns>,
        shape: Shape,
    ) -> Option<(u32, Self)> {
        let mut fit = 0;
        let mut words = piece.words();
        let number = match shape.number {
            true => Some(words.next()?.text.parse::<u32>().ok()?),
            false => None,
        };
        let counters = match shape.verbose {
            true => Some(Counters { packets: count(words.next()?)?, bytes: count(words.next()?)? }),
            false => None,
        };
        if let Some(columns) = columns {
            let agrees = columns.number == shape.number && columns.verbose == shape.verbose;
            fit += if agrees { 16 } else { 0 };
            fit += u32::from(starts_at_target(line, piece, words, columns.target) == shape.target);
        }
        let target = match shape.target {
            true => Some(words.next().filter(|name| is_target(name.text))?),
            false => None,
        };
        if let Some(name) = target {
            // A row without a target starts with the protocol or, where columns are lost, with a
            // number that is none.
            let doubtful = name.text.bytes().all(|byte| byte.is_ascii_digit());
            fit += if doubtful { 0 } else { 2 };
        }

        let before = words;
        let mut protocol = field(&mut words)?;
        let (fragment, fragment_piece) = if shape.opt {
            match glued_protocol(protocol) {
                Some((alone, dashes)) => {
                    protocol = alone;
                    (Fragment::Any, dashes)
                }
                None => {
                    let piece = words.next()?;
                    (fragment(piece.text)?, piece)
                }
            }
        } else {
            (Fragment::Any, before.rest().take(0))
        };
        let known_protocol = is_protocol(protocol.value.text);
        if !known_protocol && !is_name(protocol.value.text) {
            return None;
        }
        fit += if known_protocol { 8 } else { 0 };

        let interfaces = match shape.verbose {
            true => Some((field(&mut words)?, field(&mut words)?)),
            false => None,
        };
        let source = field(&mut words)?;
        let destination = field(&mut words)?;
        let mut family = None;
        let mut resolved = 0;
        for address in [source, destination] {
            let text = address.value.text;
            if place(text, None)? != Place::Unknown {
                resolved += 1;
            }
            if text.contains(':') {
                family = Some(Family::Ipv6);
            } else if text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'/'))
            {
                family = Some(Family::Ipv4);
            }
        }
        // Prose has dashes and the names of protocols as well.
        let plain = shape.opt && matches!(fragment_piece.text, "--" | "-f" | "!f");
        let sure = match (known_protocol, resolved) {
            (true, 0) => plain,
            (true, _) => true,
            (false, 0) => false,
            (false, _) => plain,
        };
        if !sure {
            return None;
        }
        fit += resolved * 4 + if shape.opt { 4 } else { 0 };
        let extra = words.rest().trim();
        let row = Self {
            piece,
            number,
            counters,
            target,
            protocol,
            fragment,
            fragment_piece,
            interfaces,
            source,
            destination,
            extra,
            address_family: family,
        };
        Some((fit, row))
    }
}

/// All shapes, the usual ones first.
fn shapes() -> impl Iterator<Item = Shape> {
    (0..16_u8).map(|bits| Shape {
        opt: bits & 1 == 0,
        target: bits & 2 == 0,
        number: bits & 4 != 0,
        verbose: bits & 8 != 0,
    })
}

/// Whether the next word stands where the target does, rather than behind an empty target.
fn starts_at_target(line: Piece<'_>, piece: Piece<'_>, words: Cursor<'_>, target: usize) -> bool {
    let start = words.rest().start;
    if start == piece.start {
        return line.take(start - line.start).text.chars().count() <= target + 6;
    }
    // Counters of a busy host push all columns to the right, but only an empty target leaves a
    // gap of its width.
    let before = line.take(start - line.start).text;
    let gap = before.chars().rev().take_while(|char| char.is_whitespace()).count();
    gap < 9
}

fn field<'a>(words: &mut Cursor<'a>) -> Option<Field<'a>> {
    let before = words.rest();
    let (negated, value) = words.negatable()?;
    let whole = before.take(value.start + value.text.len() - before.start);
    Some(Field { negated, value, whole })
}

/// A counter, which without `-x` is rounded to three or four digits and a unit.
pub(super) fn count(piece: Piece<'_>) -> Option<u64> {
    let digits = piece.text.trim_end_matches(|char: char| char.is_ascii_alphabetic());
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let unit = match piece.skip(digits.len()).text {
        "" => 1,
        "K" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "P" => 1_000_000_000_000_000,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

fn is_name(text: &str) -> bool {
    text.starts_with(|char: char| char.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || matches!(char, '-' | '.' | '_' | '/' | '+'))
}

/// Whether a word may be the name of a target or chain.
fn is_target(text: &str) -> bool {
    !text.starts_with(['-', '!', '*', '/', '–', '—', '(']) && !text.ends_with(':')
}

pub(super) fn is_protocol(text: &str) -> bool {
    text.parse::<u8>().is_ok() || protocols::number(text).is_some()
}

/// Whether a word is one of the `opt` column.
pub(super) fn fragment(text: &str) -> Option<Fragment> {
    match text {
        "--" | "–" | "—" | "−−" | "-" | "––" => Some(Fragment::Any),
        "-f" | "–f" | "−f" => Some(Fragment::Only),
        "!f" => Some(Fragment::Not),
        _ => None,
    }
}

/// A protocol that fills its column and so touches the `--` behind it, as in `udplite--`.
fn glued_protocol(protocol: Field<'_>) -> Option<(Field<'_>, Piece<'_>)> {
    let name = protocol.value.text.strip_suffix("--")?;
    if !is_protocol(name) {
        return None;
    }
    let value = protocol.value.take(name.len());
    let whole = protocol.whole.take(protocol.whole.text.len() - 2);
    Some((Field { value, whole, ..protocol }, protocol.value.skip(name.len())))
}
