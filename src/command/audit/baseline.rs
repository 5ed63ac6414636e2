//! The baseline of an audit: findings that were there when somebody last looked, and do not count.

use std::fs;
use std::path::Path;

use nattrace_verifier::audit::Finding;
use serde::{Deserialize, Serialize};

use crate::exit::{Failure, Result};
use crate::input;
use crate::output::context::Context;
use crate::output::finding::{Audited, fingerprint};

const SCHEMA: &str = "nattrace/audit-baseline/1";

/// A baseline as it lies on disk.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Baseline {
    schema: String,
    /// What stays the same of each finding from run to run.
    findings: Vec<String>,
}

impl Baseline {
    /// Reads a baseline.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = input::read_text(path)?;
        let read: Self = serde_json::from_str(&text).map_err(|error| {
            Failure::input(format!("`{}` is no baseline of an audit: {error}", path.display()))
                .help("`nattrace audit --write-baseline FILE` writes one")
        })?;
        if read.schema != SCHEMA {
            return Err(Failure::input(format!(
                "expected the schema `{SCHEMA}`, found `{}`",
                read.schema
            )));
        }
        Ok(read)
    }

    /// Writes what is found now.
    pub(super) fn write(path: &Path, audited: &Audited<'_>) -> Result<()> {
        let each = audited.findings.iter().map(|finding| fingerprint(audited.context, finding));
        let mut findings: Vec<String> = each.collect();
        findings.sort_unstable();
        findings.dedup();
        let baseline = Self { schema: SCHEMA.to_owned(), findings };
        let text = serde_json::to_string_pretty(&baseline).map_err(std::io::Error::from)? + "\n";
        fs::write(path, text).map_err(|error| input::unwritable(path, &error))
    }

    /// Whether a finding was there before.
    pub(super) fn knows(&self, context: &Context<'_>, finding: &Finding) -> bool {
        self.findings.contains(&fingerprint(context, finding))
    }
}
