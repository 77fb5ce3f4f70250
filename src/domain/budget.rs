//! Budgets: a limit on one cost, as typed and as resolved for one network and device.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::domain::{Cost, CostKind};

/// How a limit was given.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// A share of what the 8/8 policy costs on the same device; above 0.
    Ratio(f64),
    /// Seconds, joules or bytes; above 0.
    Absolute(f64),
}

/// A budget as the user asked for it: `latency=0.6`, `energy=2mJ`, `size=1.1MB`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BudgetRequest {
    pub kind: CostKind,
    pub limit: Limit,
}

impl BudgetRequest {
    /// The limit in seconds, joules or bytes, given what the 8/8 policy costs.
    pub fn resolve(&self, eight_bit: &Cost) -> Budget {
        let limit = match self.limit {
            Limit::Ratio(ratio) => ratio * eight_bit.get(self.kind),
            Limit::Absolute(limit) => limit,
        };
        Budget { kind: self.kind, limit }
    }
}

/// A limit on one cost, in seconds, joules or bytes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    pub kind: CostKind,
    pub limit: f64,
}

impl Budget {
    pub fn is_met_by(&self, cost: &Cost) -> bool {
        cost.get(self.kind) <= self.limit
    }

    /// Whether every budget of the list is met.
    pub fn all_met(budgets: &[Budget], cost: &Cost) -> bool {
        budgets.iter().all(|budget| budget.is_met_by(cost))
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at most {}", self.kind, show_cost(self.kind, self.limit))
    }
}

/// A cost with the unit a person would choose: `1.24 ms`, `3.1 mJ`, `131.0 kB`.
pub fn show_cost(kind: CostKind, value: f64) -> String {
    let (unit, steps): (&str, &[(f64, &str)]) = match kind {
        CostKind::Latency => ("s", &[(1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n")]),
        CostKind::Energy => {
            ("J", &[(1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p")])
        }
        CostKind::Size | CostKind::Memory => {
            ("B", &[(1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")])
        }
    };
    let &(scale, prefix) = steps
        .iter()
        .find(|(scale, _)| value.abs() >= *scale)
        .unwrap_or(steps.last().expect("every kind has units"));
    let scaled = value / scale;
    match (kind, scale == 1.0) {
        (CostKind::Size | CostKind::Memory, true) => format!("{scaled:.0} {unit}"),
        _ if scaled.abs() >= 100.0 => format!("{scaled:.1} {prefix}{unit}"),
        _ => format!("{scaled:.3} {prefix}{unit}"),
    }
}

const SECONDS: &[(&str, f64)] =
    &[("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0)];
const JOULES: &[(&str, f64)] =
    &[("pJ", 1e-12), ("nJ", 1e-9), ("uJ", 1e-6), ("µJ", 1e-6), ("mJ", 1e-3), ("J", 1.0)];
const BYTES: &[(&str, f64)] = &[
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("kB", 1e3),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("B", 1.0),
];

impl FromStr for BudgetRequest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let example =
            "write for example latency=0.6, latency=5ms, energy=2mJ, size=1.1MB or memory=512KB";
        let (word, value) =
            text.split_once('=').ok_or_else(|| format!("budget {text:?} has no '='; {example}"))?;
        let kind: CostKind =
            word.trim().parse().map_err(|told| format!("budget {told}; {example}"))?;
        let value = value.trim();
        let units = match kind {
            CostKind::Latency => SECONDS,
            CostKind::Energy => JOULES,
            CostKind::Size | CostKind::Memory => BYTES,
        };
        let digits = value.trim_end_matches(|c: char| !c.is_ascii_digit() && c != '.').len();
        let (number, unit) = value.split_at(digits);
        let number: f64 = number
            .trim()
            .parse()
            .map_err(|_| format!("budget value {value:?} is not a number; {example}"))?;
        if !(number.is_finite() && number > 0.0) {
            return Err(format!("budget {text:?} needs to be above 0; {example}"));
        }
        let limit = match unit.trim() {
            "" => Limit::Ratio(number),
            unit => {
                let (_, factor) =
                    units.iter().find(|(name, _)| *name == unit).ok_or_else(|| {
                        let known: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
                        format!("unit {unit:?} does not measure {kind}; {} do", known.join(", "))
                    })?;
                Limit::Absolute(number * factor)
            }
        };
        Ok(Self { kind, limit })
    }
}

impl fmt::Display for BudgetRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.limit {
            Limit::Ratio(ratio) => write!(f, "{}={ratio}", self.kind),
            Limit::Absolute(limit) => {
                let unit = match self.kind {
                    CostKind::Latency => "s",
                    CostKind::Energy => "J",
                    CostKind::Size | CostKind::Memory => "B",
                };
                write!(f, "{}={limit}{unit}", self.kind)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_read_with_and_without_units() {
        for (text, kind, limit) in [
            ("latency=0.6", CostKind::Latency, Limit::Ratio(0.6)),
            ("latency=5ms", CostKind::Latency, Limit::Absolute(0.005)),
            ("latency=0.005s", CostKind::Latency, Limit::Absolute(0.005)),
            ("energy=2 mJ", CostKind::Energy, Limit::Absolute(0.002)),
            ("size=1.1MB", CostKind::Size, Limit::Absolute(1.1 * 1e6)),
            ("size=134168B", CostKind::Size, Limit::Absolute(134_168.0)),
            ("memory=512KB", CostKind::Memory, Limit::Absolute(512_000.0)),
        ] {
            assert_eq!(text.parse(), Ok(BudgetRequest { kind, limit }), "{text}");
        }
    }

    #[test]
    fn bad_budgets_name_what_is_wrong() {
        for (text, expected) in [
            ("latency", "has no '='"),
            ("speed=1", "is not latency, energy, size or memory"),
            ("latency=fast", "is not a number"),
            ("latency=0", "needs to be above 0"),
            ("latency=-1ms", "needs to be above 0"),
            ("latency=5MB", "does not measure latency"),
        ] {
            let message = text.parse::<BudgetRequest>().unwrap_err();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }

    #[test]
    fn a_request_survives_being_written_and_read() {
        for text in ["latency=0.6", "latency=5ms", "energy=2mJ", "size=134168B"] {
            let request: BudgetRequest = text.parse().unwrap();
            assert_eq!(request.to_string().parse(), Ok(request));
        }
    }

    #[test]
    fn costs_print_in_the_unit_a_person_would_choose() {
        for (kind, value, expected) in [
            (CostKind::Latency, 0.001_24, "1.240 ms"),
            (CostKind::Energy, 3.1e-6, "3.100 µJ"),
            (CostKind::Size, 131_000.0, "131.0 kB"),
            (CostKind::Size, 12.0, "12 B"),
            (CostKind::Latency, 0.0, "0.000 ns"),
        ] {
            assert_eq!(show_cost(kind, value), expected);
        }
    }
}
