//! Solvers of bit-vector logic.

use std::collections::BTreeMap;
use std::fmt;

/// A free value of a script: its name, and its width; 0 for a truth value.
pub type Declared = (String, u32);

/// What a solver says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Solution {
    /// No values satisfy what is asserted.
    None,
    /// These values do.
    Values(BTreeMap<String, u128>),
    /// It could not say, or not in time; with its reason.
    Unknown(String),
}

/// Something that solves scripts of SMT-LIB 2.
pub trait Solver: Sync + fmt::Debug {
    /// Its name and version, such as `z3 4.8.12`.
    fn name(&self) -> String;

    /// Solves a script; of the free values those are told that it declares.
    fn solve(&self, script: &str, declared: &[Declared]) -> Solution;
}

/// The Z3 that this program was built with.
#[cfg(feature = "z3")]
#[derive(Clone, Copy, Debug)]
pub struct Z3 {
    /// How many seconds each question may take.
    pub seconds: u32,
}

#[cfg(feature = "z3")]
impl Solver for Z3 {
    fn name(&self) -> String {
        let full = z3::full_version();
        // `4.8.12.0`, or with words behind.
        let number = full.split([' ', '-']).find(|word| word.contains('.')).unwrap_or(full);
        let parts: Vec<&str> = number.split('.').take(3).collect();
        format!("z3 {}", parts.join("."))
    }

    fn solve(&self, script: &str, declared: &[Declared]) -> Solution {
        let seconds = self.seconds;
        z3::with_z3_config(&z3::Config::new(), move || {
            let Some(solver) = z3::Solver::new_for_logic("QF_BV") else {
                return Solution::Unknown("z3 has no solver for bit-vectors".to_owned());
            };
            let mut limits = z3::Params::new();
            limits.set_u32("timeout", seconds.saturating_mul(1000).max(1));
            solver.set_params(&limits);
            solver.from_string(script);
            match solver.check() {
                z3::SatResult::Unsat => Solution::None,
                z3::SatResult::Sat => match solver.get_model() {
                    Some(model) => Solution::Values(values(&model, declared)),
                    None => Solution::Unknown("z3 tells no values".to_owned()),
                },
                z3::SatResult::Unknown => {
                    let why = solver.get_reason_unknown().unwrap_or_default();
                    Solution::Unknown(match why.as_str() {
                        "timeout" | "canceled" => format!("z3 found no answer in {seconds} s"),
                        other => format!("z3 found no answer: {other}"),
                    })
                }
            }
        })
    }
}

/// The values of a model.
#[cfg(feature = "z3")]
fn values(model: &z3::Model, declared: &[Declared]) -> BTreeMap<String, u128> {
    let each = declared.iter().filter_map(|(name, width)| {
        let value = match width {
            0 => {
                let value = model.eval(&z3::ast::Bool::new_const(name.as_str()), true)?;
                value.as_bool()?.into()
            }
            width => {
                let value = model.eval(&z3::ast::BV::new_const(name.as_str(), *width), true)?;
                number(&value.to_string())?
            }
        };
        Some((name.clone(), value))
    });
    each.collect()
}

/// A number as SMT-LIB writes it.
pub fn number(text: &str) -> Option<u128> {
    match text.strip_prefix("#x") {
        Some(digits) => u128::from_str_radix(digits, 16).ok(),
        None => u128::from_str_radix(text.strip_prefix("#b")?, 2).ok(),
    }
}
