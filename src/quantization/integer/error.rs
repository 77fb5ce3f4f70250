#[derive(Debug, thiserror::Error, PartialEq)]
pub enum IntegerError {
    #[error(
        "a multiplier of {0} has no fixed-point form; it needs to be finite, at least 0 and below 2^30"
    )]
    Multiplier(f64),
    #[error(
        "{what}: sums may reach {reach}, more than 32 bits hold; fewer bits or a shorter reduction would do"
    )]
    Accumulator { what: &'static str, reach: i64 },
    #[error("{what}: {found} values, {expected} expected")]
    Length { what: &'static str, found: usize, expected: usize },
    #[error("convolution: {0}")]
    Shape(&'static str),
    #[error("code {code} at {index} is outside {low} to {high}")]
    Code { index: usize, code: i32, low: i32, high: i32 },
}
