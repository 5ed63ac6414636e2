//! `-m limit`: a token bucket (kernel-facts G19).
//!
//! | option | value |
//! |---|---|
//! | `--limit` | `Rate`; always there |
//! | `--limit-burst` | `Number`; 5 if not there |

use crate::arguments::Argument;
use crate::extension::{Completion, Extension, OptionDecl};
use crate::syntax::{Backend, Value};

pub(super) static EXTENSION: Extension =
    Extension::of_match("limit", OPTIONS).complete(check_burst);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("limit", Argument::Rate).filled(|_| Value::Rate { count: 3, seconds: 3_600 }),
    OptionDecl::new("limit-burst", Argument::Number(10_000)).omitted(&Value::Number(5)),
];

/// The kernel's credits per second, and those of a unit of the average (xt_limit.c, with a clock of
/// 250 or 1000 Hz).
const CREDITS: u32 = 32_000;
const SCALE: u32 = 10_000;

/// The kernel's arithmetic of 32 bits.
fn credits(average: u32) -> u32 {
    if average > u32::MAX / CREDITS {
        (average / SCALE).wrapping_mul(CREDITS)
    } else {
        average.wrapping_mul(CREDITS) / SCALE
    }
}

/// A burst of 0 is taken for the default by iptables-nft; iptables-legacy refuses it, and what its
/// counter can't hold (kernel-facts G19).
fn check_burst(completion: &mut Completion<'_, '_>) {
    let average = match completion.value("limit") {
        Some(Value::Rate { count, seconds }) => {
            u64::from(SCALE) * u64::from(*seconds) / (*count).max(1)
        }
        _ => 0,
    };
    let burst = match completion.value("limit-burst") {
        Some(Value::Number(burst)) => *burst,
        _ => 5,
    };
    if completion.context.backend == Some(Backend::Legacy)
        && let (Ok(average), Ok(burst)) = (u32::try_from(average), u32::try_from(burst))
        && (burst == 0 || credits(average.wrapping_mul(burst)) < credits(average))
    {
        let message = "the rate and the burst are out of the range of iptables-legacy";
        completion.refuse("invalid-rate", message, completion.span);
        return;
    }
    completion.options.retain(|option| option.value != Value::Number(0));
}
