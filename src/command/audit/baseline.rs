//! The baseline of an audit: findings that were there when somebody last looked, and do not count.

use nattrace_verifier::audit::Finding;
use serde::{Deserialize, Serialize};

use crate::command::baseline::Document;
use crate::output::context::Context;
use crate::output::finding::{Audited, fingerprint};

/// A baseline as it lies on disk.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Baseline {
    schema: String,
    /// What stays the same of each finding from run to run.
    findings: Vec<String>,
}

impl Document for Baseline {
    const SCHEMA: &str = "nattrace/audit-baseline/1";
    const NAME: &str = "baseline of an audit";
    const COMMAND: &str = "nattrace audit";

    fn schema(&self) -> &str {
        &self.schema
    }
}

impl Baseline {
    /// What is found now.
    pub(super) fn of(audited: &Audited<'_>) -> Self {
        let each = audited.findings.iter().map(|finding| fingerprint(audited.context, finding));
        let mut findings: Vec<String> = each.collect();
        findings.sort_unstable();
        findings.dedup();
        Self { schema: Self::SCHEMA.to_owned(), findings }
    }

    /// Whether a finding was there before.
    pub(super) fn knows(&self, context: &Context<'_>, finding: &Finding) -> bool {
        self.findings.contains(&fingerprint(context, finding))
    }
}
