//! The same arrivals with every setting of every way.
//!
//! All ways may be told a least and a most count, so that each of them can also be a fixed count.

use super::arrivals::Kind;
use super::fleet::{Came, Scaler, run};
use super::ways::{Fixed, Hpa, Knative, MOST, Ours};

/// What a user may set: the least count, the share of places to aim at, and for ours how long fewer must suffice.
const LEAST: [u32; 5] = [0, 1, 2, 4, 6];
const SHARES: [f64; 4] = [0.7, 0.8, 0.9, 1.0];
const SPELLS_MS: [u64; 3] = [15_000, 60_000, 300_000];

/// Waits, in seconds, that nineteen of twenty asks are to stay below.
pub const BARS: [f64; 5] = [0.1, 1.0, 5.0, 10.0, 20.0];

/// What came of one setting.
#[derive(Clone)]
pub struct Point {
    pub setting: String,
    pub came: Came,
}

/// All settings of one way.
pub struct Curve {
    pub name: &'static str,
    pub points: Vec<Point>,
    /// What came of the setting that it has by itself.
    pub usual: Point,
}

pub struct Curves {
    pub kind: &'static str,
    pub asks: usize,
    pub ours: Curve,
    pub others: Vec<Curve>,
}

impl Curve {
    /// The fewest replica-hours with which nineteen of twenty asks wait at most so many seconds.
    pub fn hours_within(&self, seconds: f64) -> Option<f64> {
        let within = self
            .points
            .iter()
            .filter(|point| point.came.waited(0.95) <= seconds);
        within.map(|point| point.came.hours).min_by(f64::total_cmp)
    }

    /// Hours and waits of the settings than which none is better in both, by hours.
    pub fn front(&self) -> Vec<(f64, f64)> {
        let pairs = self.points.iter();
        let pairs = pairs.map(|point| (point.came.hours, point.came.waited(0.95)));
        let mut pairs: Vec<(f64, f64)> = pairs.collect();
        pairs.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.total_cmp(&other.1)));
        let mut least = f64::INFINITY;
        pairs.retain(|(_, wait)| {
            let is_less = *wait < least;
            least = least.min(*wait);
            is_less
        });
        pairs
    }
}

impl Curves {
    pub fn of(kind: &Kind) -> Self {
        let point = |setting: String, scaler: &mut dyn Scaler| Point {
            setting,
            came: run(kind, scaler),
        };
        let fixed: Vec<Point> = (1..=MOST)
            .map(|count| point(format!("{count} replicas"), &mut Fixed(count)))
            .collect();
        let grid = || {
            LEAST
                .into_iter()
                .flat_map(|least| SHARES.map(|share| (least, share)))
        };
        let ours = grid().flat_map(|(least, share)| {
            SPELLS_MS.map(|spell| {
                let setting = format!("min {least}, {share}, {} s", spell / 1000);
                point(setting, &mut Ours::new(least, share, spell))
            })
        });
        let knative = grid().map(|(least, share)| {
            point(
                format!("min {least}, {share}"),
                &mut Knative::new(least, share),
            )
        });
        let hpa = grid()
            .filter(|(least, _)| *least > 0)
            .map(|(least, share)| {
                point(format!("min {least}, {share}"), &mut Hpa::new(least, share))
            });
        let curve = |name, points: Vec<Point>, usual| Curve {
            name,
            points: [points, fixed.clone()].concat(),
            usual,
        };
        let usual_ours = point("0.8, 5m".into(), &mut Ours::new(1, 0.8, 300_000));
        let usual_knative = point("0.7".into(), &mut Knative::new(1, 0.7));
        let usual_hpa = point("0.8".into(), &mut Hpa::new(1, 0.8));
        // As many hours as ours, or a little more.
        let like_ours = |point: &&Point| point.came.hours >= usual_ours.came.hours;
        let usual_fixed = fixed.iter().find(like_ours).or(fixed.last());
        let usual_fixed = usual_fixed.expect("there are some").clone();
        Self {
            kind: kind.name,
            asks: kind.asks.len(),
            others: vec![
                curve("Knative's", knative.collect(), usual_knative),
                curve("HPA's", hpa.collect(), usual_hpa),
                curve("fixed", Vec::new(), usual_fixed),
            ],
            ours: curve("ours", ours.collect(), usual_ours),
        }
    }

    pub fn all(&self) -> impl Iterator<Item = &Curve> {
        [&self.ours].into_iter().chain(&self.others)
    }
}
