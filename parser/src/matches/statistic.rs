//! `-m statistic`: matches by chance, or every so many packets (kernel-facts G19).
//!
//! | option | value |
//! |---|---|
//! | `--mode` | `Text`: `random` or `nth` |
//! | `[!] --probability` | `Probability` |
//! | `[!] --every` | `Number` |
//! | `--packet` | `Number` |

use crate::arguments::Argument;
use crate::extension::{Completion, Extension, OptionDecl, Requirement, fixed};
use crate::syntax::Value;

pub(super) static EXTENSION: Extension = Extension::of_match("statistic", OPTIONS)
    .requires(&[Requirement::OneOf(&["mode"])])
    .complete(check_mode);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("mode", Argument::ExactKeyword(&[&["random"], &["nth"]])),
    OptionDecl::new("probability", Argument::Probability).negatable(),
    OptionDecl::new("every", Argument::Number(u32::MAX as u64)).negatable(),
    OptionDecl::new("packet", Argument::Number(u32::MAX as u64)),
];

fn check_mode(completion: &mut Completion<'_, '_>) {
    let (needed, others): (&[&str], &[&str]) = match completion.value("mode") {
        Some(mode) if *mode == fixed("random") => (&["probability"], &["every", "packet"]),
        Some(_) => (&["every", "packet"], &["probability"]),
        None => return,
    };
    for name in needed.iter().filter(|name| !completion.has(name)).copied().collect::<Vec<_>>() {
        let message = format!("`statistic` needs `--{name}` in this mode");
        completion.refuse("missing-option", message, completion.span);
    }
    for name in others.iter().filter(|name| completion.has(name)).copied().collect::<Vec<_>>() {
        let message = format!("`--{name}` belongs to the other mode of `statistic`");
        let span = completion.span_of(name);
        completion.refuse("wrong-option", message, span);
    }
    let zero = completion.value("every") == Some(&Value::Number(0));
    let packet = match (completion.value("every"), completion.value("packet")) {
        (Some(Value::Number(every)), Some(Value::Number(packet))) => packet >= every,
        _ => false,
    };
    if zero || packet {
        let message = "expected `--every` above 0 and `--packet` below it";
        completion.refuse("invalid-number", message, completion.span);
    }
}
