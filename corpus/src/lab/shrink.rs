//! Makes a disagreement small: fewer rules and an ordinary packet, as long as it persists.

use std::io;

use nattrace_model::flow::FlowState;

use super::comparison::Judgement;
use super::session::{Loaded, Session, Tried};
use super::trial::{Observation, Trial};

/// A disagreement with the fewest rules that show it.
pub(crate) struct Found {
    pub(crate) rules: String,
    pub(crate) trial: Trial,
    pub(crate) loaded: Loaded,
    pub(crate) observed: Observation,
    pub(crate) differences: Vec<String>,
}

/// What makes a packet more of an ordinary one.
const SIMPLER: [fn(&mut Trial); 9] = [
    |trial| trial.cut = None,
    |trial| trial.flow.ttl = None,
    |trial| trial.flow.mark = 0,
    |trial| trial.flow.tcp_flags = None,
    |trial| trial.flow.icmp = None,
    |trial| trial.flow.state = FlowState::New,
    |trial| trial.flow.any_source = false,
    |trial| trial.flow.source_port = trial.flow.source_port.map(|_| 40000),
    |trial| trial.flow.destination_port = trial.flow.destination_port.map(|_| 80),
];

impl Found {
    /// A disagreement as it was found.
    pub(crate) fn whole(
        session: &Session,
        rules: &str,
        trial: &Trial,
        observed: Observation,
        judgement: Judgement,
    ) -> io::Result<Self> {
        let loaded = session.load(rules)?.map_err(io::Error::other)?;
        let differences = differences(judgement);
        Ok(Self { rules: rules.to_owned(), trial: trial.clone(), loaded, observed, differences })
    }
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
    let mut size = lines.len().next_power_of_two();
    while size > 0 {
        let mut from = 0;
        while from < lines.len() {
            let kept = |(at, line): (usize, &&'_ str)| {
                !(from..from + size).contains(&at)
                    || !(line.starts_with("-A ") || line.starts_with("\t\t"))
            };
            let fewer: Vec<&str> = lines
                .iter()
                .enumerate()
                .filter(|pair| kept(*pair))
                .map(|(_, line)| *line)
                .collect();
            if fewer.len() < lines.len()
                && let Some(still) = disagrees(session, &fewer, trial)?
            {
                lines = fewer;
                best = still;
            } else {
                from += size;
            }
        }
        size /= 2;
    }
    let mut trial = trial.clone();
    for simpler in SIMPLER {
        let mut plain = trial.clone();
        simpler(&mut plain);
        if plain != trial
            && let Some(still) = disagrees(session, &lines, &plain)?
        {
            trial = plain;
            best = still;
        }
    }
    let rules = lines.join("\n") + "\n";
    let loaded = session.load(&rules)?.map_err(io::Error::other)?;
    let (observed, differences) = best;
    Ok(Found { rules, trial, loaded, observed, differences })
}

fn disagrees(
    session: &Session,
    lines: &[&str],
    trial: &Trial,
) -> io::Result<Option<(Observation, Vec<String>)>> {
    let Ok(loaded) = session.load(&(lines.join("\n") + "\n"))? else { return Ok(None) };
    Ok(match session.try_again(&loaded, trial)? {
        Ok(Tried { judgement: judgement @ Judgement::Disagrees(_), observed, .. }) => {
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
