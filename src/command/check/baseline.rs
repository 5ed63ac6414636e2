//! The baseline: what did not hold when somebody last looked, and does not count until it does.

use nattrace_verifier::check::{Finding, Status};
use serde::{Deserialize, Serialize};

use crate::command::baseline::Document;
use crate::output::check::{family_name, status_name};

/// A baseline as it lies on disk.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Baseline {
    schema: String,
    results: Vec<Known>,
}

/// One result that is known.
#[derive(Debug, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(deny_unknown_fields)]
struct Known {
    name: String,
    kind: String,
    family: String,
    status: String,
}

impl Known {
    fn of(finding: &Finding) -> Self {
        Self {
            name: finding.name.clone(),
            kind: finding.kind.as_str().to_owned(),
            family: family_name(finding.families).to_owned(),
            status: status_name(finding.status).to_owned(),
        }
    }
}

impl Document for Baseline {
    const SCHEMA: &str = "nattrace/baseline/1";
    const NAME: &str = "baseline";
    const COMMAND: &str = "nattrace check";

    fn schema(&self) -> &str {
        &self.schema
    }
}

impl Baseline {
    /// What does not hold now.
    pub(super) fn of(findings: &[Finding]) -> Self {
        let open = findings.iter().filter(|finding| finding.status != Status::Holds);
        let mut results: Vec<Known> = open.map(Known::of).collect();
        results.sort_unstable();
        Self { schema: Self::SCHEMA.to_owned(), results }
    }

    /// Whether a finding was there before. One that was unknown and fails now is new.
    pub(super) fn knows(&self, finding: &Finding) -> bool {
        self.results.contains(&Known::of(finding))
    }
}
