//! An answer in one line.

use std::fmt::Write;

use nattrace_model::answer::{Answer, Verdict};

use super::context::Context;
use super::{names, words};

/// The line, without a newline: who to whom, the outcome, and what did it.
pub(crate) fn render(context: &Context<'_>, answer: &Answer) -> String {
    let (source, destination) = words::flow_ends(&answer.flow);
    let protocol = names::Protocol::new(answer.flow.protocol, answer.flow.source);
    let outcome = names::outcome(answer.outcome);
    let verdict = words::verdict_words(context, answer);
    let mut line = format!("{source} -> {destination}/{protocol}: {outcome}, {verdict}");
    if let Some(proxy) = answer.proxy.as_ref().filter(|_| answer.verdict == Verdict::Proxied) {
        let _ = write!(line, "; docker-proxy: {}", render(context, proxy));
    }
    if let Some(because) = &answer.because {
        let _ = write!(line, ": {}", words::visible(because));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::sample;

    #[test]
    fn everything_fits_in_one_line() {
        let system = sample::system();
        let line = render(&Context::new(&system), &sample::answer(&system));
        assert_eq!(line.lines().count(), 1);
        insta::assert_snapshot!(line);
    }
}
