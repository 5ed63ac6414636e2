//! Whether what was loaded stands where it should, also where others changed rules meanwhile.

use crate::change::{Step, tagged};
use crate::saved::{Forms, Table};

/// Whether all chains hold the same rules.
pub(crate) fn same_rules(one: &Table, other: &Table, forms: &Forms) -> bool {
    let list = |table: &Table| {
        let mut rules: Vec<(String, String)> =
            table.all_rules().map(|(chain, rule)| (chain.to_owned(), rule.to_owned())).collect();
        // Chains may be listed in another order; their rules keep theirs.
        rules.sort_by(|a, b| a.0.cmp(&b.0));
        rules
    };
    let (one, other) = (list(one), list(other));
    one == other
        || one.len() == other.len()
            && one
                .iter()
                .zip(&other)
                .all(|(one, other)| one.0 == other.0 && forms.of(&one.1) == forms.of(&other.1))
}

/// Whether an edit is where it belongs although others changed the chain meanwhile: what was
/// before it is before it, what was behind it is behind it.
pub(crate) fn stands(
    id: &str,
    step: &Step,
    rules: &[String],
    then: &[String],
    forms: &Forms,
) -> Result<(), String> {
    let fault = || format!("edit {} is not where it was loaded", step.number);
    let Some(new) = &step.new else { return Ok(()) };
    let place = tagged(rules, id, step.number).ok_or_else(fault)?;
    let planned = then.iter().position(|rule| rule == new);
    let planned = planned.or_else(|| tagged(then, id, step.number)).ok_or_else(fault)?;
    let forms_of =
        |rules: &[String]| -> Vec<String> { rules.iter().map(|rule| forms.of(rule)).collect() };
    let (before, behind) = split(&forms_of(rules), place);
    let (planned_before, planned_behind) = split(&forms_of(then), planned);
    let crossed = |side: &[String], planned_other: &[String], planned_side: &[String]| {
        side.iter().any(|rule| planned_other.contains(rule) && !planned_side.contains(rule))
    };
    if crossed(&before, &planned_behind, &planned_before)
        || crossed(&behind, &planned_before, &planned_behind)
    {
        return Err(fault());
    }
    Ok(())
}

fn split(rules: &[String], place: usize) -> (Vec<String>, Vec<String>) {
    let before = rules.iter().take(place).cloned().collect();
    (before, rules.iter().skip(place + 1).cloned().collect())
}
