//! `-m time`: the time of day and the date.
//!
//! | option | value |
//! |---|---|
//! | `--timestart, --timestop` | `Text` `HH:MM:SS`; both or none |
//! | `[!] --monthdays` | `Bits`: bit n is day n, bit 0 means nothing; never negated |
//! | `[!] --weekdays` | `Bits`: bit 1 is Monday, bit 7 Sunday, bit 0 means nothing; never negated |
//! | `--datestart, --datestop` | `Text` `YYYY-MM-DDTHH:MM:SS`; the second is always there |
//! | `--kerneltz, --contiguous` | `Flag` |

use std::borrow::Cow;

use crate::arguments::{Argument, Context, Custom, Fault, names, number};
use crate::extension::{Completion, Extension, OptionDecl, fixed};
use crate::syntax::Value;
use crate::words::Word;

pub(super) static EXTENSION: Extension = Extension::of_match("time", OPTIONS).complete(complete);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("timestart", Argument::Custom(&CLOCK)),
    OptionDecl::new("timestop", Argument::Custom(&CLOCK)),
    OptionDecl::new("monthdays", Argument::Custom(&MONTHDAYS)).negatable(),
    OptionDecl::new("weekdays", Argument::Custom(&WEEKDAYS)).negatable(),
    OptionDecl::new("datestart", Argument::Custom(&DATE))
        .omitted(&Value::Text(Cow::Borrowed("1970-01-01T00:00:00"))),
    OptionDecl::new("datestop", Argument::Custom(&DATE))
        .omitted(&Value::Text(Cow::Borrowed("1970-01-01T00:00:00")))
        .filled(|_| fixed("2038-01-19T03:14:07")),
    OptionDecl::flag("kerneltz"),
    OptionDecl::flag("contiguous"),
];

static CLOCK: Custom = Custom {
    words: 1,
    form: "HH:MM[:SS]",
    samples: &["00:00", "08:30", "23:59:59", "7:5"],
    parse: clock,
    print: print_text,
};
static DATE: Custom = Custom {
    words: 1,
    form: "YYYY[-MM[-DD[Thh[:mm[:ss]]]]]",
    samples: &[
        "2024",
        "2024-02",
        "2024-02-29",
        "2020-01-01T12",
        "2037-12-31T23:59:59",
        "1970-01-01",
    ],
    parse: date,
    print: print_text,
};
static MONTHDAYS: Custom = Custom {
    words: 1,
    form: "DAY,...",
    samples: &["1", "31", "1,15,28", "3,2,1"],
    parse: monthdays,
    print: print_monthdays,
};
static WEEKDAYS: Custom = Custom {
    words: 1,
    form: "DAY,...",
    samples: &["Mon", "Mo,Tu", "1,7", "Sat,Sun", "Mon,Tue,Wed,Thu,Fri,Sat,Sun"],
    parse: weekdays,
    print: print_weekdays,
};

/// The days.
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// Both ends of the day are printed if either is not the default (kernel-facts H6).
fn complete(completion: &mut Completion<'_, '_>) {
    let (first, last) = ("00:00:00", "23:59:59");
    if completion.has("timestart") || completion.has("timestop") {
        completion.fill("timestart", fixed(first));
        completion.fill("timestop", fixed(last));
    }
    complement(completion, "monthdays", 0xffff_fffe);
    complement(completion, "weekdays", 0xfe);
    let late = match (completion.value("timestart"), completion.value("timestop")) {
        (Some(Value::Text(start)), Some(Value::Text(stop))) => start >= stop,
        _ => false,
    };
    if completion.has("contiguous") && !late {
        let message = "`--contiguous` needs an end before the start, that is past midnight";
        let span = completion.span_of("contiguous");
        completion.refuse("wrong-option", message, span);
    }
    let whole = completion.value("timestart") == Some(&fixed(first))
        && completion.value("timestop") == Some(&fixed(last));
    if whole {
        let times = ["timestart", "timestop"];
        completion.options.retain(|option| !times.contains(&option.option.name));
    }
}

/// The kernel keeps the days that match, so `!` is gone afterwards; all days are no condition.
fn complement(completion: &mut Completion<'_, '_>, name: &str, all: u32) {
    for option in completion.options.iter_mut().filter(|option| option.option.name == name) {
        if let Value::Bits(days) = &mut option.value
            && option.negated
        {
            *days ^= all;
            option.negated = false;
        }
    }
    completion
        .options
        .retain(|option| option.option.name != name || option.value != Value::Bits(all));
}

fn text<'w>(words: &'w [Word<'_>]) -> &'w str {
    words.first().map_or("", |word| word.text.as_ref())
}

/// The number that a text begins with, up to a highest, and the rest, as strtoul(3) with base 10
/// reads it into 32 bits; nothing at all counts as 0.
fn leading(text: &str, high: u64) -> Option<(u64, &str)> {
    let signed = text.trim_start_matches(number::BLANKS);
    let unsigned = signed.strip_prefix(['+', '-']).unwrap_or(signed);
    let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = unsigned.split_at_checked(digits)?;
    if digits.is_empty() {
        return Some((0, text));
    }
    let number = digits.parse().map_or(u64::MAX, |number: u64| match signed.starts_with('-') {
        true => number.wrapping_neg(),
        false => number,
    });
    let number = number & u64::from(u32::MAX);
    (number <= high).then_some((number, rest))
}

/// `HH:MM[:SS]`.
fn clock_form(text: &str) -> Option<String> {
    let (hour, rest) = leading(text, 23)?;
    let (minute, rest) = leading(rest.strip_prefix(':')?, 59)?;
    let second = match rest.strip_prefix(':') {
        Some(second) => leading(second, 59).filter(|(_, rest)| rest.is_empty())?.0,
        None if rest.is_empty() => 0,
        None => return None,
    };
    Some(format!("{hour:02}:{minute:02}:{second:02}"))
}

fn clock<'a>(words: &[Word<'a>], _: &Context) -> Result<Value<'a>, Fault> {
    let text = text(words);
    clock_form(text)
        .map(|text| Value::Text(text.into()))
        .ok_or_else(|| Fault::expected("invalid-time", "a time `HH:MM[:SS]`", text))
}

/// `YYYY[-MM[-DD[THH[:MM[:SS]]]]]`; a day that the month has not counts on, as by mktime(3).
fn date_form(text: &str) -> Option<String> {
    let (year, rest) = leading(text, 2038)?;
    let mut fields = [1, 1, 0, 0, 0];
    let mut rest = rest;
    for (field, (separator, high)) in
        fields.iter_mut().zip([('-', 12), ('-', 31), ('T', 23), (':', 59), (':', 59)])
    {
        if rest.is_empty() {
            break;
        }
        (*field, rest) = leading(rest.strip_prefix(separator)?, high)?;
    }
    if !rest.is_empty() || year < 1970 {
        return None;
    }
    let [month, day, hour, minute, second] = fields;
    let (year, month, day) = civil(year, month, day)?;
    Some(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"))
}

/// A day of the calendar; day 0 and month 0 are those before the first.
fn civil(year: u64, month: u64, day: u64) -> Option<(u64, u64, u64)> {
    let (mut year, mut month) = if month == 0 { (year - 1, 12) } else { (year, month) };
    let mut day = day;
    if day == 0 {
        (year, month) = if month == 1 { (year - 1, 12) } else { (year, month - 1) };
        day = length_of(year, month);
    }
    while day > length_of(year, month) {
        day -= length_of(year, month);
        (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    }
    // mktime(3) has no time before 1970 for iptables.
    (year >= 1970).then_some((year, month, day))
}

fn length_of(year: u64, month: u64) -> u64 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn date<'a>(words: &[Word<'a>], _: &Context) -> Result<Value<'a>, Fault> {
    let text = text(words);
    date_form(text)
        .map(|text| Value::Text(text.into()))
        .ok_or_else(|| Fault::expected("invalid-time", "a date `YYYY-MM-DD[Thh:mm:ss]`", text))
}

/// The items of a list, each cut to so many bytes; a comma at its end is nothing.
fn items(text: &str, most: usize) -> impl Iterator<Item = &str> {
    let none = text.is_empty();
    let text = text.strip_suffix(',').unwrap_or(text);
    text.split(',')
        .filter(move |_| !none)
        .map(move |item| item.get(..item.floor_char_boundary(most)).unwrap_or(item))
}

/// Days by number, of which two digits are read; day 0 is never.
fn monthdays<'a>(words: &[Word<'a>], _: &Context) -> Result<Value<'a>, Fault> {
    let mut days = 0;
    for item in items(text(words), 2) {
        // Two bytes of a negative number say no day but 0.
        let day = match item {
            "" | "-0" => Some(0),
            _ => number::parse(item),
        };
        let Some(day) = day.filter(|day| *day <= 31) else {
            let expected = "days of the month from 1 to 31";
            return Err(Fault::expected("invalid-time", expected, text(words)));
        };
        days |= 1 << day;
    }
    Ok(Value::Bits(days))
}

/// A number below zero, as strtoul(3) reads it.
fn negative(item: &str) -> Option<u64> {
    let digits = item.trim_start_matches(number::BLANKS).strip_prefix('-')?;
    let number = number::parse(digits).filter(|_| digits.starts_with(|c: char| c.is_ascii_digit()));
    number.map(u64::wrapping_neg)
}

/// Days by number or name, of which three letters are read and two count.
fn weekdays<'a>(words: &[Word<'a>], _: &Context) -> Result<Value<'a>, Fault> {
    let mut days = 0_u32;
    for item in items(text(words), 3) {
        let named = || {
            let short = |name: &&str| item.len() >= 2 && name.get(..2) == item.get(..2);
            DAYS.iter().position(short).and_then(|index| u64::try_from(index + 1).ok())
        };
        match number::parse(item).or_else(|| negative(item)).filter(|day| *day > 0).or_else(named) {
            Some(day) => days |= 1 << (day & 31) & 0xff,
            None => return Err(names::unknown(item, DAYS.into_iter())),
        }
    }
    Ok(Value::Bits(days))
}

fn print_text(value: &Value<'_>, out: &mut String) {
    if let Value::Text(text) = value {
        out.push(' ');
        out.push_str(text);
    }
}

fn print_monthdays(value: &Value<'_>, out: &mut String) {
    let Value::Bits(days) = value else { return };
    if days & !1 == 0 {
        out.push(' ');
    }
    let mut separator = ' ';
    for day in (1..32).filter(|day| days >> day & 1 == 1) {
        out.push(separator);
        number::print(day, out);
        separator = ',';
    }
}

fn print_weekdays(value: &Value<'_>, out: &mut String) {
    let Value::Bits(days) = value else { return };
    if days & !1 == 0 {
        out.push(' ');
    }
    let mut separator = ' ';
    for (index, name) in DAYS.iter().enumerate() {
        if days >> (index + 1) & 1 == 1 {
            out.push(separator);
            out.push_str(name);
            separator = ',';
        }
    }
}
