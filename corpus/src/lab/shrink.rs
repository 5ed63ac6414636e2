//! Makes a disagreement small: fewer rules, as long as it persists.

use std::io;

use super::comparison::Judgement;
use super::session::{Loaded, Session};
use super::trial::{Observation, Trial};

/// A disagreement with the fewest rules that show it.
pub(crate) struct Found {
    pub(crate) rules: String,
    pub(crate) trial: Trial,
    pub(crate) loaded: Loaded,
    pub(crate) observed: Observation,
    pub(crate) differences: Vec<String>,
}

/// Drops rules while simulator and kernel keep disagreeing about the packet.
pub(crate) fn shrink(
    session: &Session,
    rules: &str,
    trial: &Trial,
    observed: Observation,
    judgement: Judgement,
) -> io::Result<Found> {
    let mut lines: Vec<&str> = rules.lines().collect();
    let mut best = (observed, differences(judgement));
    let mut at = lines.len();
    while at > 0 {
        at -= 1;
        if !lines.get(at).is_some_and(|line| line.starts_with("-A ")) {
            continue;
        }
        let mut fewer = lines.clone();
        fewer.remove(at);
        if let Some(still) = disagrees(session, &fewer, trial)? {
            lines = fewer;
            best = still;
        }
    }
    let rules = lines.join("\n") + "\n";
    let loaded = session.load(&rules)?.map_err(io::Error::other)?;
    let (observed, differences) = best;
    Ok(Found { rules, trial: trial.clone(), loaded, observed, differences })
}

fn disagrees(
    session: &Session,
    lines: &[&str],
    trial: &Trial,
) -> io::Result<Option<(Observation, Vec<String>)>> {
    let Ok(loaded) = session.load(&(lines.join("\n") + "\n"))? else { return Ok(None) };
    Ok(match session.try_again(&loaded, trial)? {
        Ok((judgement @ Judgement::Disagrees(_), observed)) => {
            Some((observed, differences(judgement)))
        }
        Ok(_) | Err(_) => None,
    })
}

fn differences(judgement: Judgement) -> Vec<String> {
    match judgement {
        Judgement::Disagrees(differences) => differences,
        Judgement::Agrees | Judgement::AgreesInABranch | Judgement::Undetermined => Vec::new(),
    }
}
