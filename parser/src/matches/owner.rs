//! `-m owner`: the socket that sent the packet (kernel-facts G20).
//!
//! | option | value |
//! |---|---|
//! | `[!] --socket-exists` | `Flag` |
//! | `[!] --uid-owner, --gid-owner` | `Range` |
//! | `--suppl-groups` | `Flag` |

use crate::arguments::{Argument, Context, Custom, Fault, number};
use crate::extension::{Completion, Extension, OptionDecl, Requirement};
use crate::syntax::Value;
use crate::words::{Word, clip};

pub(super) static EXTENSION: Extension = Extension::of_match("owner", OPTIONS)
    .chains(&["OUTPUT", "POSTROUTING"])
    .requires(&[Requirement::AnyOption, Requirement::Needs("suppl-groups", "gid-owner")])
    .complete(check);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::flag("socket-exists").negatable(),
    OptionDecl::new("uid-owner", Argument::Custom(&ID)).negatable(),
    OptionDecl::new("gid-owner", Argument::Custom(&ID)).negatable(),
    OptionDecl::flag("suppl-groups"),
];

/// The groups are those of a group that was named before.
fn check(completion: &mut Completion<'_, '_>) {
    completion.refuse_reversed("uid-owner");
    completion.refuse_reversed("gid-owner");
    if completion.has("suppl-groups")
        && completion.span_of("suppl-groups").start < completion.span_of("gid-owner").start
    {
        completion.refuse_option("suppl-groups", "`--gid-owner` before it");
    }
}

static ID: Custom = Custom {
    words: 1,
    form: "ID[-ID]|NAME",
    samples: &["0", "1000", "0-65535", "root", "4294967294", "5-5"],
    parse: id,
    print,
};

/// A number or `LOW-HIGH`; of names only `root` is known without the host's own files.
fn id<'a>(words: &[Word<'a>], _: &Context) -> Result<Value<'a>, Fault> {
    let text = words.first().map_or("", |word| word.text.as_ref());
    if text == "root" {
        return Ok(Value::Range(0, 0));
    }
    if text.bytes().any(|byte| byte.is_ascii_alphabetic()) && !text.starts_with("0x") {
        let message = format!("the name `{}` is not looked up", clip(text));
        return Err(Fault::new("owner-name", message).help("write its number").unsure());
    }
    let (low, high) = text.split_once(['-', ':']).unwrap_or((text, text));
    let max = u64::from(u32::MAX) - 1;
    Ok(Value::Range(number::number(low, max)?, number::number(high, max)?))
}

fn print(value: &Value<'_>, out: &mut String) {
    if let Value::Range(low, high) = value {
        out.push(' ');
        number::print_range(*low, *high, '-', out);
    }
}
