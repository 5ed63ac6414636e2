//! The law of `fix`: for random rules and a policy that fails there, the edits that are printed are
//! enough, no part of them is, every form of them says the same, and real iptables agrees.
//!
//! `NATTRACE_LAW_SEED` sets what is drawn, `NATTRACE_LAW_FIXES` how many hosts are asked about.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of a test"
)]

#[path = "fix/drawn.rs"]
mod drawn;
mod program;
#[path = "fix/saved.rs"]
mod saved;

use std::fs;
use std::io::Read;
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use drawn::Drawn;
use program::{nattrace, show};
use saved::{ordered, patched, set, sorted, steady};
use serde_json::Value;

/// How many hosts are asked about where nothing else is said: as many as a minute has room for.
const HOSTS: u64 = 40;

/// Up to how many edits all of their parts are looked at.
const ALL_PARTS: usize = 4;

/// How long one answer may take, on a busy machine and where nothing is optimized.
const LIMIT: Duration = Duration::from_secs(10);

/// What is said of a host about which one takes longer.
const SLOW: &str = "takes too long";

/// Every table without a rule.
const EMPTY: &str = "*raw\n:PREROUTING ACCEPT\n:OUTPUT ACCEPT\nCOMMIT\n*mangle\n:PREROUTING ACCEPT\n\
                     :INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT\nCOMMIT\n\
                     *nat\n:PREROUTING ACCEPT\n:INPUT ACCEPT\n:OUTPUT ACCEPT\n\
                     :POSTROUTING ACCEPT\nCOMMIT\n*filter\n:INPUT ACCEPT\n:FORWARD ACCEPT\n\
                     :OUTPUT ACCEPT\nCOMMIT\n*security\n:INPUT ACCEPT\n:FORWARD ACCEPT\n\
                     :OUTPUT ACCEPT\nCOMMIT\n";

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// What was seen, so that a law about nothing is noticed.
#[derive(Default)]
struct Counts {
    held: AtomicU64,
    missed: AtomicU64,
    slow: AtomicU64,
    fixed: AtomicU64,
    edits: AtomicU64,
    in_kernel: AtomicU64,
}

fn count(of: &AtomicU64) -> u64 {
    of.load(Ordering::Relaxed)
}

fn add(to: &AtomicU64, number: u64) {
    to.fetch_add(number, Ordering::Relaxed);
}

#[test]
fn edits_are_enough_no_part_of_them_is_and_all_forms_agree() {
    let seed = number("NATTRACE_LAW_SEED", 17);
    let wanted = number("NATTRACE_LAW_FIXES", HOSTS);
    let first = number("NATTRACE_LAW_FIRST", 0);
    let next = AtomicU64::new(first);
    let counts = Counts::default();
    let faults = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= first + wanted {
                        return;
                    }
                    let drawn = Drawn::new(seed, number);
                    let result = holds(&drawn, &counts);
                    if result.as_ref().is_err_and(|fault| fault == SLOW) {
                        add(&counts.slow, 1);
                        drawn.keep();
                    } else if let Err(fault) = result {
                        let about = format!("seed {seed} host {number}");
                        let policy = fs::read_to_string(drawn.path("policy.toml")).unwrap();
                        faults.lock().unwrap().push(format!("{about}: {fault}\n{policy}"));
                        // To be looked at: NATTRACE_LAW_KEEP names a folder.
                        drawn.keep();
                    }
                }
            });
        }
    });
    let Counts { held, missed, slow, fixed, edits, in_kernel } = &counts;
    eprintln!(
        "seed {seed}: {} policies hold, {} have no fix, {} take too long, {} have one, of {} \
         edits, {} of them in the kernel",
        count(held),
        count(missed),
        count(slow),
        count(fixed),
        count(edits),
        count(in_kernel)
    );
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
    assert!(count(fixed) * 5 > wanted, "hardly any policy was mended");
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A run of nattrace about a drawn host, with the rules and settings of the folder, or others.
fn run(drawn: &Drawn, command: &str, host: &str, more: &[&str]) -> Result<Output, String> {
    let mut program = nattrace();
    program.current_dir(drawn.folder());
    program.arg(command).args(["-s", host]).args(more);
    program.arg("policy.toml");
    within(LIMIT, &mut program)
}

/// What a program says in its time.
fn within(limit: Duration, program: &mut Command) -> Result<Output, String> {
    let child = program.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap();
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let out = scope.spawn(move || read(&mut out));
        let err = scope.spawn(move || read(&mut err));
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if begun.elapsed() > limit {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let (stdout, stderr) = (out.join().unwrap(), err.join().unwrap());
        Ok(Output { status: status.ok_or(SLOW)?, stdout, stderr })
    })
}

fn read(from: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).unwrap();
    bytes
}

fn fix(drawn: &Drawn, format: &str) -> Result<Output, String> {
    run(drawn, "fix", "host", &["--format", format, "--max-edits", "5"])
}

fn holds(drawn: &Drawn, counts: &Counts) -> Result<(), String> {
    let output = fix(drawn, "commands")?;
    match output.status.code() {
        Some(0) if output.stdout.is_empty() => {
            add(&counts.held, 1);
            return Ok(());
        }
        Some(1) => {
            add(&counts.missed, 1);
            return Ok(());
        }
        Some(0 | 3) => {}
        _ => return Err(format!("fix: {}", show(&output))),
    }
    // Nothing that is unknown today becomes known.
    let status = output.status.code();
    // What is to be known besides is a comment.
    let script = stdout(&output);
    let edits = script.lines().filter(|line| !line.starts_with('#'));
    let script: String = edits.map(|line| format!("{line}\n")).collect();
    let lines: Vec<&str> = script.lines().collect();
    add(&counts.fixed, 1);
    add(&counts.edits, lines.len() as u64);
    with(drawn, "then", &lines)?;
    let then = run(drawn, "check", "then", &["--format", "concise"])?;
    if then.status.code() != status {
        return Err(format!("with\n{script}the policy does not hold: {}", show(&then)));
    }
    no_part_is_enough(drawn, &lines, status)?;
    forms_agree(drawn, &script)?;
    kernel_agrees(drawn, &lines, counts)?;
    match drawn.number() % 3 {
        0 => json_agrees(drawn, &script),
        _ => Ok(()),
    }
}

/// Makes a snapshot of the host as it is with commands made.
fn with(drawn: &Drawn, name: &str, commands: &[&str]) -> Result<(), String> {
    let folder = drawn.path(name);
    drop(fs::remove_dir_all(&folder));
    fs::create_dir(&folder).unwrap();
    for file in fs::read_dir(drawn.path("host")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), folder.join(file.file_name())).unwrap();
    }
    let (settings, rules): (Vec<&str>, Vec<&str>) =
        commands.iter().partition(|line| line.starts_with("sysctl "));
    let script = format!("#!/bin/sh\n{}\n", rules.join("\n"));
    fs::write(drawn.path("script"), script).unwrap();
    if !rules.is_empty() {
        let printed = replayed(drawn)?;
        if !printed.status.success() {
            return Err(format!("the commands are not read: {}", show(&printed)));
        }
        fs::write(folder.join(drawn.rules()), printed.stdout).unwrap();
    }
    if !settings.is_empty() {
        let path = folder.join("sysctl");
        let mut text = fs::read_to_string(&path).unwrap();
        for setting in settings {
            let (name, value) = setting["sysctl -w ".len()..].split_once('=').unwrap();
            text = set(&text, name, value);
        }
        fs::write(path, text).unwrap();
    }
    Ok(())
}

/// The rules of the host with the script carried out.
fn replayed(drawn: &Drawn) -> Result<Output, String> {
    let mut program = nattrace();
    program.current_dir(drawn.folder()).args(["fmt", "--family", drawn.family_name()]);
    program.args(["--rules", &format!("host/{}", drawn.rules()), "--rules", "script"]);
    within(LIMIT, &mut program)
}

/// A command and what it does to the numbers of the rules behind it: the chain, and by how much.
fn shift(command: &str) -> Option<(String, u64, i64)> {
    let words: Vec<&str> = command.split(' ').collect();
    let [program, "-w", "-t", table, op, chain, number, ..] = words.as_slice() else { return None };
    let by = match *op {
        "-I" => 1,
        "-D" => -1,
        _ => 0,
    };
    Some((format!("{program} {table} {chain}"), number.parse().unwrap_or(u64::MAX), by))
}

/// Some of the commands, with the numbers that rules have where the others are not made.
fn part(commands: &[&str], kept: u32) -> Vec<String> {
    let mut lines = Vec::new();
    for (at, command) in commands.iter().enumerate().filter(|(at, _)| kept & (1 << at) != 0) {
        let Some((chain, number, _)) = shift(command).filter(|(_, number, _)| *number != u64::MAX)
        else {
            lines.push((*command).to_owned());
            continue;
        };
        let left_out = commands.iter().enumerate().take(at).filter(|(at, _)| kept & (1 << at) == 0);
        let by: i64 = left_out
            .filter_map(|(_, command)| shift(command))
            .filter(|(own, _, _)| *own == chain)
            .map(|(_, _, by)| by)
            .sum();
        let moved = number.checked_add_signed(-by).unwrap();
        lines.push(command.replacen(&format!(" {number}"), &format!(" {moved}"), 1));
    }
    lines
}

fn no_part_is_enough(drawn: &Drawn, lines: &[&str], status: Option<i32>) -> Result<(), String> {
    let all = (1u32 << lines.len()) - 1;
    let parts: Vec<u32> = match lines.len() {
        0 | 1 => Vec::new(),
        few if few <= ALL_PARTS => (1..all).collect(),
        many => (0..many).map(|gone| all & !(1 << gone)).collect(),
    };
    for kept in parts {
        let own = part(lines, kept);
        let own: Vec<&str> = own.iter().map(String::as_str).collect();
        with(drawn, "part", &own)?;
        let output = run(drawn, "check", "part", &["--format", "concise"])?;
        if output.status.code() == status {
            return Err(format!("of\n{}\nthis is enough:\n{}", lines.join("\n"), own.join("\n")));
        }
    }
    Ok(())
}

/// The command of an edit of a plan.
fn command(edit: &Value) -> String {
    let text = |key: &str| edit[key].as_str().unwrap().to_owned();
    let program = match &*text("family") {
        "ipv4" => "iptables",
        _ => "ip6tables",
    };
    let (table, chain, rule) = (text("table"), text("chain"), text("rule"));
    let (position, spec) = (&edit["position"], rule.splitn(3, ' ').nth(2).unwrap_or(""));
    let head = format!("{program} -w -t {table}");
    match &*text("op") {
        "insert" => format!("{head} -I {chain} {position} {spec}"),
        "replace" => format!("{head} -R {chain} {position} {spec}"),
        "delete" => format!("{head} -D {chain} {position}"),
        "append" => format!("{head} -A {chain} {spec}"),
        other => panic!("unknown op {other}"),
    }
}

fn forms_agree(drawn: &Drawn, script: &str) -> Result<(), String> {
    if script.lines().all(|line| line.starts_with("sysctl ")) {
        return Ok(());
    }
    let plan: Value = serde_json::from_str(&stdout(&fix(drawn, "plan")?)).unwrap();
    let edits = plan["edits"].as_array().unwrap();
    same_commands(edits.iter().map(command), script)?;
    let then = fs::read_to_string(drawn.path("then").join(drawn.rules())).unwrap();
    fs::write(drawn.path("script"), "#!/bin/sh\n").unwrap();
    let today = stdout(&replayed(drawn)?);
    let file = stdout(&fix(drawn, "file")?);
    let rules = file.lines().filter(|line| !line.starts_with('#'));
    let file: String = rules.map(|line| format!("{line}\n")).collect();
    // A text keeps its tables in their order, a replay prints them in that of iptables-save.
    if sorted(&steady(&file)) != sorted(&steady(&then)) {
        return Err(format!("file is\n{file}\nthe commands make\n{then}"));
    }
    let diff = stdout(&fix(drawn, "diff")?);
    let names = file.lines().filter(|line| line.starts_with('*'));
    let order: Vec<String> = names.map(str::to_owned).collect();
    if patched(&ordered(&today, &order), &diff).as_ref() != Some(&file) {
        return Err(format!("diff is\n{diff}\nfile is\n{file}"));
    }
    let delta = stdout(&fix(drawn, "restore")?);
    fs::write(drawn.path("delta"), &delta).unwrap();
    let here = format!("#!/bin/sh\n{} -w --noflush <<'END'\n{delta}END\n", drawn.restore());
    fs::write(drawn.path("script"), here).unwrap();
    let replayed = replayed(drawn)?;
    if stdout(&replayed) != then {
        return Err(format!("restore is\n{delta}\nwhich makes {}", show(&replayed)));
    }
    Ok(())
}

/// The JSON says what the commands do. It tells what else changes, too, and so takes its time.
fn json_agrees(drawn: &Drawn, script: &str) -> Result<(), String> {
    let json = fix(drawn, "json")?;
    let parsed: Value = serde_json::from_str(&stdout(&json)).map_err(|e| format!("json: {e}"))?;
    let (settings, edits) = (&parsed["settings"], &parsed["edits"]);
    let set = |setting: &Value| setting["command"].as_str().unwrap().to_owned();
    let all = settings.as_array().unwrap().iter().map(set);
    same_commands(all.chain(edits.as_array().unwrap().iter().map(command)), script)
}

fn same_commands(told: impl Iterator<Item = String>, script: &str) -> Result<(), String> {
    // Quotes are the shell's.
    let plain = |text: &str| text.replace(['\'', '"', '\\'], "");
    let told: Vec<String> = told.collect();
    let settings = told.iter().any(|line| line.starts_with("sysctl "));
    let lines = script.lines().filter(|line| settings || !line.starts_with("sysctl "));
    if lines.map(plain).ne(told.iter().map(|line| plain(line))) {
        return Err(format!("told is\n{}\ncommands say\n{script}", told.join("\n")));
    }
    Ok(())
}

/// The tasks of Ansible as a script that does what they do.
fn played(tasks: &str) -> String {
    let words = |list: &str| -> String {
        let words: Vec<String> = serde_json::from_str(list).unwrap();
        let quoted = words.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''")));
        quoted.collect::<Vec<String>>().join(" ")
    };
    let mut script = String::new();
    let mut asked = String::new();
    for task in tasks.split("- name: ").skip(1) {
        let argv = task.lines().find_map(|line| line.trim().strip_prefix("argv: ")).unwrap();
        let when = task.lines().find_map(|line| line.trim().strip_prefix("when: "));
        match when {
            None if task.contains("changed_when: false") => asked = words(argv),
            None => {}
            Some(when) => {
                let when: String = serde_json::from_str(when).unwrap();
                let (_, test) = when.split_once(".stdout ").unwrap();
                let (op, rule) = test.split_once(' ').unwrap();
                let rule: String = serde_json::from_str(rule).unwrap();
                let op = if op == "==" { "=" } else { "!=" };
                let rule = rule.replace('\'', r"'\''");
                script += &format!(
                    "if [ \"$({asked} 2>/dev/null)\" {op} '{rule}' ]; then {}; fi\n",
                    words(argv)
                );
            }
        }
    }
    script
}

/// What iptables makes of each form, in a network namespace of its own.
fn kernel_agrees(drawn: &Drawn, lines: &[&str], counts: &Counts) -> Result<(), String> {
    let rules: Vec<&str> =
        lines.iter().copied().filter(|line| !line.starts_with("sysctl ")).collect();
    if rules.is_empty() {
        return Ok(());
    }
    let tasks = played(&stdout(&fix(drawn, "ansible")?));
    let (save, restore) = (drawn.save(), drawn.restore());
    fs::copy(drawn.path("host").join(drawn.rules()), drawn.path("today")).unwrap();
    let set = drawn.path("host").join("ipset-save");
    let sets = match set.exists() {
        true => format!("ipset restore < {}\n", set.display()),
        false => String::new(),
    };
    // What the host's rules do not name is as a kernel has it that was asked nothing yet.
    fs::write(drawn.path("empty"), EMPTY).unwrap();
    let begin = format!("{restore} < empty\n{restore} < today\n");
    let script = format!(
        "set -e\necho ready >&2\n{sets}{begin}{save} > saved-before\n{}\n{save} > saved-commands\n\
         {begin}{restore} --noflush -w < delta\n{save} > saved-restore\n\
         {begin}{tasks}{save} > saved-ansible\n{tasks}{save} > saved-again\n",
        rules.join("\n"),
    );
    let output = Command::new("unshare")
        .args(["--net", "sh", "-c", &script])
        .current_dir(drawn.folder())
        .output();
    let ready = |output: &Output| String::from_utf8_lossy(&output.stderr).contains("ready\n");
    let Some(output) = output.ok().filter(ready) else {
        nattrace_skips::skip("the law of fix in the kernel", "no namespace of our own");
        return Ok(());
    };
    if !output.status.success() {
        return Err(format!("{script}\n{}", show(&output)));
    }
    let then = fs::read_to_string(drawn.path("then").join(drawn.rules())).unwrap();
    let expected = sorted(&steady(&then));
    for form in ["commands", "restore", "ansible", "again"] {
        let real = fs::read_to_string(drawn.path(&format!("saved-{form}"))).unwrap();
        let real = sorted(&steady(&real));
        if real != expected {
            let odd: Vec<_> = real.iter().flatten().filter(|l| !then.contains(&***l)).collect();
            return Err(format!("{form}: the kernel has {odd:#?}\n{}", rules.join("\n")));
        }
    }
    add(&counts.in_kernel, 1);
    Ok(())
}
