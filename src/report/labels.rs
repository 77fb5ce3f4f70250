//! Puts words beside points where they cover least.

use crate::report::canvas::{Area, Point};

/// What is drawn already, and how bad it is to cover it.
#[derive(Debug)]
pub struct Placer {
    bounds: Area,
    taken: Vec<(Area, f64)>,
}

impl Placer {
    /// Labels stay inside `bounds` where they can.
    pub fn new(bounds: Area) -> Self {
        Self { bounds, taken: Vec::new() }
    }

    /// Something that should not be covered; `weight` 1 for a faint line, 10 for a label.
    pub fn take(&mut self, area: Area, weight: f64) {
        self.taken.push((area, weight));
    }

    /// A square around a point.
    pub fn take_point(&mut self, (x, y): Point, radius: f64, weight: f64) {
        self.take(Area::new(x - radius, y - radius, x + radius, y + radius), weight);
    }

    /// Finds room for `width` × `height` pixels beside a point, and takes it.
    ///
    /// Near places are tried before far ones, right and above before left and below.
    pub fn place(&mut self, (x, y): Point, width: f64, height: f64, gap: f64) -> Area {
        let mut best = (f64::INFINITY, Area::new(x, y, x + width, y + height));
        for (ring, gap) in
            [0.0, 12.0, 26.0, 42.0, 60.0].map(|more| gap + more).into_iter().enumerate()
        {
            let sideways = gap * 0.7;
            let corners = [
                (x + gap, y - height / 2.0),
                (x + sideways, y - gap * 0.6 - height),
                (x - width / 2.0, y - gap - height),
                (x - sideways - width, y - gap * 0.6 - height),
                (x - gap - width, y - height / 2.0),
                (x + sideways, y + gap * 0.6),
                (x - width / 2.0, y + gap),
                (x - sideways - width, y + gap * 0.6),
            ];
            for (order, (left, top)) in corners.into_iter().enumerate() {
                let left = left.min(self.bounds.right - width).max(self.bounds.left);
                let area = Area::new(left, top, left + width, top + height);
                let score = self.cover(area) + ring as f64 * 30.0 + order as f64;
                if score < best.0 {
                    best = (score, area);
                }
            }
        }
        self.take(best.1, 10.0);
        best.1
    }

    /// Weighted square pixels covered; leaving the bounds counts most.
    fn cover(&self, area: Area) -> f64 {
        let outside = area.width() * area.height() - overlap(area, self.bounds);
        let taken: f64 =
            self.taken.iter().map(|(taken, weight)| overlap(area, *taken) * weight).sum();
        outside * 100.0 + taken
    }
}

fn overlap(a: Area, b: Area) -> f64 {
    let width = a.right.min(b.right) - a.left.max(b.left);
    let height = a.bottom.min(b.bottom) - a.top.max(b.top);
    width.max(0.0) * height.max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_one_point_do_not_cover_each_other() {
        let mut placer = Placer::new(Area::new(0.0, 0.0, 400.0, 300.0));
        let placed: Vec<Area> =
            (0..6).map(|_| placer.place((200.0, 150.0), 40.0, 14.0, 8.0)).collect();
        for (i, a) in placed.iter().enumerate() {
            for b in &placed[..i] {
                assert_eq!(overlap(*a, *b), 0.0, "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn a_label_at_the_edge_turns_inwards() {
        let bounds = Area::new(0.0, 0.0, 400.0, 300.0);
        for point in [(399.0, 150.0), (1.0, 1.0), (399.0, 299.0), (200.0, 0.0)] {
            let area = Placer::new(bounds).place(point, 60.0, 14.0, 8.0);
            let inside = overlap(area, bounds);
            assert!((inside - 60.0 * 14.0).abs() < 1e-6, "{point:?}: {area:?}");
        }
    }
}
