//! `-m srh`: the segment routing header of IPv6.
//!
//! | option | value |
//! |---|---|
//! | `[!] --srh-next-hdr, --srh-tag` | `Number` |
//! | `[!] --srh-hdr-len-eq, -gt, -lt` | `Number` |
//! | `[!] --srh-segs-left-eq, -gt, -lt` | `Number` |
//! | `[!] --srh-last-entry-eq, -gt, -lt` | `Number` |
//! | `[!] --srh-psid, --srh-nsid, --srh-lsid` | `Address` |

use crate::arguments::{Argument, Custom, address};
use crate::extension::{Completion, Extension, OptionDecl};
use crate::syntax::{Family, OptionUse, Value};

pub(super) static EXTENSION: Extension =
    Extension::of_match("srh", OPTIONS).family(Family::Ipv6).complete(share);

/// The kernel holds one number for the three comparisons of a field: the one that is given last.
fn share(completion: &mut Completion<'_, '_>) {
    for field in ["srh-hdr-len-", "srh-segs-left-", "srh-last-entry-"] {
        let of_field = |option: &&OptionUse<'_>| option.option.name.starts_with(field);
        let last = completion.options.iter().filter(of_field).max_by_key(|one| one.span.start);
        let Some(value) = last.map(|one| one.value.clone()) else { continue };
        for option in completion.options.iter_mut() {
            if option.option.name.starts_with(field) {
                option.value = value.clone();
            }
        }
    }
}

static SEGMENT: Custom = Custom {
    words: 1,
    form: "ADDRESS[/MASK]",
    samples: &["2001:db8::1", "2001:db8::1/64", "::/0"],
    parse: |words, context| {
        let text = words.first().map_or("", |word| word.text.as_ref());
        address::guided(text, context.family).map(Value::Address)
    },
    // With its host bits, and always with its mask.
    print: |value, out| {
        if let Value::Address(segment) = value {
            out.push(' ');
            address::print_network(*segment, out);
        }
    },
};

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("srh-next-hdr", Argument::Number(u8::MAX as u64)).negatable(),
    OptionDecl::new("srh-hdr-len-eq", Argument::Number(u8::MAX as u64)).negatable(),
    OptionDecl::new("srh-hdr-len-gt", Argument::Number(u8::MAX as u64)).negatable(),
    OptionDecl::new("srh-hdr-len-lt", Argument::Number(u8::MAX as u64)).negatable(),
    OptionDecl::new("srh-segs-left-eq", Argument::Number(u8::MAX as u64)).negatable(),
    OptionDecl::new("srh-segs-left-gt", Argument::Number(u8::MAX as u64)).negatable(),
    OptionDecl::new("srh-segs-left-lt", Argument::Number(u8::MAX as u64)).negatable(),
    OptionDecl::new("srh-last-entry-eq", Argument::Number(u8::MAX as u64)).negatable(),
    OptionDecl::new("srh-last-entry-gt", Argument::Number(u8::MAX as u64)).negatable(),
    OptionDecl::new("srh-last-entry-lt", Argument::Number(u8::MAX as u64)).negatable(),
    OptionDecl::new("srh-tag", Argument::Number(u16::MAX as u64)).negatable(),
    OptionDecl::new("srh-psid", Argument::Custom(&SEGMENT)).negatable(),
    OptionDecl::new("srh-nsid", Argument::Custom(&SEGMENT)).negatable(),
    OptionDecl::new("srh-lsid", Argument::Custom(&SEGMENT)).negatable(),
];
