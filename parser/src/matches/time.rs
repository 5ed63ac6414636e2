//! `-m time`: the time of day and the date.
//!
//! | option | value |
//! |---|---|
//! | `--timestart, --timestop` | `Text` `HH:MM:SS`; both or none |
//! | `[!] --monthdays` | `Bits`: bit n is day n; never negated |
//! | `[!] --weekdays` | `Bits`: bit 1 is Monday, bit 7 Sunday; never negated |
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
    samples: &["Mon", "mo,TU", "1,7", "Sat,Sun", "Mon,Tue,Wed,Thu,Fri,Sat,Sun"],
    parse: weekdays,
    print: print_weekdays,
};

/// The days; two letters are enough.
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
        (Some(Value::Text(start)), Some(Value::Text(stop))) => start > stop,
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
            *days = !*days & all;
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

fn decimal(text: &str, low: u32, high: u32) -> Option<u32> {
    let number = text.parse().ok()?;
    (low..=high).contains(&number).then_some(number)
}

/// `HH:MM[:SS]`.
fn clock_form(text: &str) -> Option<String> {
    let mut parts = text.split(':');
    let hour = decimal(parts.next()?, 0, 23)?;
    let minute = decimal(parts.next()?, 0, 59)?;
    let second = parts.next().map_or(Some(0), |part| decimal(part, 0, 59))?;
    parts.next().is_none().then(|| format!("{hour:02}:{minute:02}:{second:02}"))
}

fn clock<'a>(words: &[Word<'a>], _: &Context) -> Result<Value<'a>, Fault> {
    let text = text(words);
    clock_form(text)
        .map(|text| Value::Text(text.into()))
        .ok_or_else(|| Fault::expected("invalid-time", "a time `HH:MM[:SS]`", text))
}

/// `YYYY[-MM[-DD[THH[:MM[:SS]]]]]`.
fn date_form(text: &str) -> Option<String> {
    let (day, time) = text.split_once('T').unwrap_or((text, "00:00:00"));
    let mut parts = day.split('-');
    let year = decimal(parts.next()?, 1970, 2038)?;
    let month = parts.next().map_or(Some(1), |part| decimal(part, 1, 12))?;
    let day = parts.next().map_or(Some(1), |part| decimal(part, 1, 31))?;
    let time =
        if time.contains(':') { clock_form(time)? } else { clock_form(&format!("{time}:00"))? };
    parts.next().is_none().then(|| format!("{year:04}-{month:02}-{day:02}T{time}"))
}

fn date<'a>(words: &[Word<'a>], _: &Context) -> Result<Value<'a>, Fault> {
    let text = text(words);
    date_form(text)
        .map(|text| Value::Text(text.into()))
        .ok_or_else(|| Fault::expected("invalid-time", "a date `YYYY-MM-DD[Thh:mm:ss]`", text))
}

fn monthdays<'a>(words: &[Word<'a>], _: &Context) -> Result<Value<'a>, Fault> {
    let text = text(words);
    let days = text.split(',').try_fold(0, |days, day| Some(days | 1 << decimal(day, 1, 31)?));
    days.map(Value::Bits)
        .ok_or_else(|| Fault::expected("invalid-time", "days of the month from 1 to 31", text))
}

fn weekdays<'a>(words: &[Word<'a>], _: &Context) -> Result<Value<'a>, Fault> {
    let mut days = 0;
    for day in text(words).split(',') {
        let named = || {
            let starts = |name: &&str| {
                let short = name.get(..2).unwrap_or(name);
                day.eq_ignore_ascii_case(name) || day.eq_ignore_ascii_case(short)
            };
            DAYS.iter().position(starts).and_then(|index| u32::try_from(index + 1).ok())
        };
        let number = decimal(day, 1, 7).or_else(named);
        let Some(number) = number else { return Err(names::unknown(day, DAYS.into_iter())) };
        days |= 1 << number;
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
    let mut separator = ' ';
    for day in (1..32).filter(|day| days >> day & 1 == 1) {
        out.push(separator);
        number::print(day, out);
        separator = ',';
    }
}

fn print_weekdays(value: &Value<'_>, out: &mut String) {
    let Value::Bits(days) = value else { return };
    let mut separator = ' ';
    for (index, name) in DAYS.iter().enumerate() {
        if days >> (index + 1) & 1 == 1 {
            out.push(separator);
            out.push_str(name);
            separator = ',';
        }
    }
}
