//! How far an address or a route reaches.

use std::fmt;
use std::str::FromStr;

/// The scope of an address or a route, as in `/etc/iproute2/rt_scopes`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Everywhere. ip(8) leaves it out of routes.
    #[default]
    Global,
    /// The site; historical.
    Site,
    /// Directly attached hosts.
    Link,
    /// This host only.
    Host,
    /// Nowhere.
    Nowhere,
    /// A scope without a name, by its number.
    Other(u8),
}

impl Scope {
    /// The number of the kernel: the higher, the narrower.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Global => 0,
            Self::Site => 200,
            Self::Link => 253,
            Self::Host => 254,
            Self::Nowhere => 255,
            Self::Other(number) => number,
        }
    }
}

impl FromStr for Scope {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "global" | "universe" => Self::Global,
            "site" => Self::Site,
            "link" => Self::Link,
            "host" => Self::Host,
            "nowhere" => Self::Nowhere,
            number => match number.parse()? {
                0 => Self::Global,
                200 => Self::Site,
                253 => Self::Link,
                254 => Self::Host,
                255 => Self::Nowhere,
                other => Self::Other(other),
            },
        })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Global => "global",
            Self::Site => "site",
            Self::Link => "link",
            Self::Host => "host",
            Self::Nowhere => "nowhere",
            Self::Other(number) => return write!(formatter, "{number}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scope_reads_back_by_name_and_by_number() {
        for number in 0..=255_u8 {
            let scope: Scope = number.to_string().parse().unwrap();
            assert_eq!(scope.number(), number);
            assert_eq!(scope.to_string().parse(), Ok(scope));
        }
        assert!("sight".parse::<Scope>().is_err());
    }
}
