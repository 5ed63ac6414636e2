//! An answer for a person: the packet, what it met in the order of the kernel, and what became of
//! it and of its answer.

mod page;
mod step;

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use nattrace_model::answer::{Answer, Branch, Outcome, Step};
use nattrace_model::flow::{Flow, FlowState};

use super::context::Context;
use super::{names, words};
use page::Page;

const BOLD: Style = Style::new().bold();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const OPEN: Style = AnsiColor::Yellow.on_default().bold();
const NOTE: Style = AnsiColor::Cyan.on_default().bold();
const FAINT: Style = Style::new().dimmed();

/// The page, with styles, ending in a newline.
pub(crate) fn render(context: &Context<'_>, answer: &Answer, width: usize) -> String {
    let mut page = Page::new(width);
    write_answer(&mut page, context, answer);
    for assumption in &answer.assumptions {
        page.blank();
        let label = format!("{NOTE}note{NOTE:#}: ");
        let text = format!("{} [{}]", words::visible(&assumption.text), assumption.code);
        page.labelled(&label, "note: ".len(), &text);
    }
    page.finish()
}

fn write_answer(page: &mut Page, context: &Context<'_>, answer: &Answer) {
    write_flow(page, context, &answer.flow);
    page.blank();
    step::write_steps(page, context, &answer.flow, &answer.steps, answer.decided_by);
    if !answer.steps.is_empty() {
        page.blank();
    }
    write_branches(page, context, answer);
    write_result(page, context, answer);
    if !answer.next.is_empty() {
        page.blank();
        page.line(&format!("{BOLD}had it passed, it would have met next{BOLD:#}"));
        step::write_steps(page, context, &answer.flow, &answer.next, None);
    }
    if let Some(proxy) = &answer.proxy {
        page.blank();
        page.line(&format!("{BOLD}docker-proxy opens a connection of its own{BOLD:#}"));
        page.indented(|page| write_answer(page, context, proxy));
    }
}

fn write_flow(page: &mut Page, context: &Context<'_>, flow: &Flow) {
    let (source, destination) = words::flow_ends(flow);
    let source = context.named(source, flow.source);
    let destination = context.named(destination, flow.destination);
    let mut about = vec![words::protocol_words(flow)];
    about.push(match &flow.in_interface {
        Some(interface) => format!("in by {}", words::visible(interface)),
        None => "from a local process".to_owned(),
    });
    if flow.state != FlowState::New {
        about.push(format!("connection {}", names::state(flow.state)));
    }
    if flow.mark != 0 {
        about.push(format!("mark {:#x}", flow.mark));
    }
    if let Some(flags) = flow.tcp_flags {
        about.push(format!("flags {}", names::TcpFlags(flags)));
    }
    if let Some(ttl) = flow.ttl {
        about.push(format!("TTL {ttl}"));
    }
    let text = format!("{source} → {destination}, {}", about.join(", "));
    page.row("packet", &format!("{BOLD}packet{BOLD:#}"), &text, None);
}

/// The last rows: what became of it, of its answer, and what the sender experiences.
fn write_result(page: &mut Page, context: &Context<'_>, answer: &Answer) {
    let style = match answer.outcome {
        Outcome::Connects => GOOD,
        Outcome::Refused | Outcome::Unreachable | Outcome::Timeout => BAD,
        Outcome::Undetermined => OPEN,
    };
    let verdict = words::verdict_words(context, answer);
    page.row("verdict", "verdict", &verdict, None);
    if let Some(reply) = &answer.reply {
        let mut text = words::reply_words(context, reply);
        let rules = words::reply_rules(context, reply);
        if !rules.is_empty() {
            let _ = write!(text, "; rules met: {}", rules.join(", "));
        }
        page.row("answer", "answer", &text, None);
    }
    let outcome = names::outcome(answer.outcome);
    let mut text = format!("{outcome}: {}", words::outcome_words(answer.outcome));
    if let Some(because) = words::reason(answer, &verdict) {
        let _ = write!(text, "; {because}");
    }
    page.row("result", &format!("{style}result{style:#}"), &text, Some((outcome.len(), style)));
}

/// Where things may go either way: each way in short, and its steps from the fork on.
fn write_branches(page: &mut Page, context: &Context<'_>, answer: &Answer) {
    if answer.branches.is_empty() {
        return;
    }
    if agree(answer) {
        let open = words::open_questions(answer);
        let text = format!(
            "whether {} is not known, and makes no difference",
            words::visible(&open.join(", or whether "))
        );
        page.row("either", "either", &text, None);
        return;
    }
    page.line(&format!("{BOLD}what is not known decides; it may go so:{BOLD:#}"));
    let common = common_beginning(&answer.branches);
    for branch in &answer.branches {
        let when: Vec<String> = branch
            .when
            .iter()
            .map(|(what, holds)| {
                let what = words::visible(what);
                if *holds { what } else { format!("not ({what})") }
            })
            .collect();
        page.labelled(&format!("  {BOLD}if{BOLD:#} "), "  if ".len(), &when.join(" and "));
        page.indented(|page| {
            let rest = branch.answer.steps.get(common..).unwrap_or(&[]);
            let decided_by =
                branch.answer.decided_by.and_then(|decided_by| decided_by.checked_sub(common));
            step::write_steps(page, context, &branch.answer.flow, rest, decided_by);
            write_result(page, context, &branch.answer);
        });
        page.blank();
    }
}

/// Whether the packet and its sender fare the same in all branches.
fn agree(answer: &Answer) -> bool {
    answer.branches.iter().all(|branch| {
        let Answer { verdict, outcome, egress, proxy, .. } = &branch.answer;
        (verdict, outcome) == (&answer.verdict, &answer.outcome)
            && *egress == answer.egress
            && *proxy == answer.proxy
    })
}

fn common_beginning(branches: &[Branch]) -> usize {
    let Some((first, others)) = branches.split_first() else { return 0 };
    let same = |(index, step): (usize, &Step)| {
        others.iter().all(|other| other.answer.steps.get(index) == Some(step))
    };
    first.answer.steps.iter().enumerate().take_while(|entry| same(*entry)).count()
}

#[cfg(test)]
mod tests;
