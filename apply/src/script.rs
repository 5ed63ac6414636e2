//! A capture with nothing but a POSIX shell.

/// A script for `sh` that prints a snapshot in its one-file form. It writes nothing but its
/// standard output, needs no nattrace, and runs in dash and in busybox's ash:
/// `ssh host sh -s < script`.
pub const SCRIPT: &str = include_str!("snapshot.sh");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::CONTAINER_FORMAT;
    use crate::kernel::SYSCTLS;

    #[test]
    fn asks_docker_for_the_same_as_a_capture() {
        assert!(SCRIPT.contains(&format!("'{CONTAINER_FORMAT}'")));
    }

    #[test]
    fn reads_the_same_settings_as_a_capture() {
        let listed: Vec<&str> = SCRIPT
            .lines()
            .skip_while(|line| !line.starts_with("    grep -s ''"))
            .skip(1)
            .take_while(|line| line.starts_with("        net/"))
            .flat_map(|line| line.trim_end_matches('\\').split_whitespace())
            .collect();
        assert_eq!(listed, SYSCTLS);
    }
}
