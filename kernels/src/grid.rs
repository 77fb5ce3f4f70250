//! The numbers that codes stand for.

/// The grid a tensor's values are rounded to: `scale * clamp(round(x / scale), low, high)`,
/// shifted by the zero point. Ties go to the even number.
///
/// The integer `q` runs over `low..=high` and stands for `scale * (q - zero_point)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    /// Above 0.
    pub scale: f32,
    pub zero_point: i32,
    pub low: i32,
    pub high: i32,
}

impl Grid {
    /// The smallest scale: what a range without width gets.
    pub const TINY_SCALE: f32 = f32::MIN_POSITIVE * 1e6;

    /// The value nearest to `x` that the grid holds.
    #[inline(always)]
    pub fn round(&self, x: f32) -> f32 {
        let zero_point = self.zero_point as f32;
        let q = (x / self.scale).round_ties_even() + zero_point;
        (q.clamp(self.low as f32, self.high as f32) - zero_point) * self.scale
    }
}
