//! The baseline: what did not hold when somebody last looked, and does not count until it does.

use std::fs;
use std::path::Path;

use nattrace_verifier::check::{Finding, Status};
use serde::{Deserialize, Serialize};

use crate::exit::{Failure, Result};
use crate::input;
use crate::output::check::{family_name, status_name};

const SCHEMA: &str = "nattrace/baseline/1";

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

impl Baseline {
    /// Reads a baseline.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = input::read_text(path)?;
        let read: Self = serde_json::from_str(&text).map_err(|error| {
            Failure::input(format!("`{}` is no baseline: {error}", path.display()))
                .help("`nattrace check --write-baseline FILE` writes one")
        })?;
        if read.schema != SCHEMA {
            return Err(Failure::input(format!(
                "expected the schema `{SCHEMA}`, found `{}`",
                read.schema
            )));
        }
        Ok(read)
    }

    /// Writes what does not hold now.
    pub(super) fn write(path: &Path, findings: &[Finding]) -> Result<()> {
        let open = findings.iter().filter(|finding| finding.status != Status::Holds);
        let mut results: Vec<Known> = open.map(Known::of).collect();
        results.sort_unstable();
        let baseline = Self { schema: SCHEMA.to_owned(), results };
        let text = serde_json::to_string_pretty(&baseline).map_err(std::io::Error::from)? + "\n";
        fs::write(path, text).map_err(|error| input::unwritable(path, &error))
    }

    /// Whether a finding was there before. One that was unknown and fails now is new.
    pub(super) fn knows(&self, finding: &Finding) -> bool {
        self.results.contains(&Known::of(finding))
    }
}
