//! The same arrivals with every setting of every way.

use super::arrivals::Kind;
use super::fleet::{Came, Scaler, run};
use super::textbook::{Fixed, Hpa, Knative, MOST, Ours};

pub const MINS: [u32; 6] = [0, 1, 2, 4, 6, 8];
pub const SHARES: [f64; 8] = [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];
pub const SPELLS_MS: [u64; 4] = [15_000, 60_000, 120_000, 300_000];

pub struct Point {
    pub setting: String,
    pub came: Came,
}

pub struct Curve {
    pub name: &'static str,
    pub points: Vec<Point>,
}

pub fn curves(kind: &Kind) -> Vec<Curve> {
    let point = |setting: String, mut scaler: Box<dyn Scaler>| Point {
        setting,
        came: run(kind, &mut *scaler),
    };
    let mut ours = Vec::new();
    let mut knative = Vec::new();
    let mut hpa = Vec::new();
    for min in MINS {
        for share in SHARES {
            for spell in SPELLS_MS {
                let s = format!("min {min} util {share} down {}s", spell / 1000);
                ours.push(point(s, Box::new(Ours::new(min, share, spell))));
            }
            let s = format!("min {min} util {share}");
            knative.push(point(s.clone(), Box::new(Knative::new(min, share))));
            if min > 0 {
                hpa.push(point(s, Box::new(Hpa::new(min, share))));
            }
        }
    }
    let fixed = (1..=MOST).map(|n| point(format!("{n}"), Box::new(Fixed(n))));
    vec![
        Curve {
            name: "ours",
            points: ours,
        },
        Curve {
            name: "knative",
            points: knative,
        },
        Curve {
            name: "hpa",
            points: hpa,
        },
        Curve {
            name: "fixed",
            points: fixed.collect(),
        },
    ]
}

pub fn look(kind: &Kind) {
    let curves = curves(kind);
    for curve in &curves {
        let p = curve
            .points
            .iter()
            .find(|p| p.setting == "min 1 util 0.8 down 300s" || p.setting == "min 1 util 0.7");
        if let Some(p) = p {
            println!(
                "{:8} default {:26} {}",
                curve.name,
                p.setting,
                told(&p.came)
            );
        }
        let p = curve
            .points
            .iter()
            .find(|p| p.setting == "min 0 util 0.8 down 60s");
        if let Some(p) = p {
            println!(
                "{:8} default {:26} {}",
                curve.name,
                p.setting,
                told(&p.came)
            );
        }
    }
    for bar in [0.0, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 119.0] {
        let mut line = format!("p95 <= {bar:5}:");
        for curve in &curves {
            let within = curve.points.iter().filter(|p| p.came.waited(0.95) <= bar);
            let best = within.min_by(|a, b| a.came.hours.total_cmp(&b.came.hours));
            match best {
                Some(p) => line += &format!(" {} {:.2}h [{}]", curve.name, p.came.hours, p.setting),
                None => line += &format!(" {} -", curve.name),
            }
        }
        println!("{line}");
    }
}

fn told(c: &Came) -> String {
    format!(
        "{:.2} h p50 {:.2} p95 {:.2} p99 {:.2} refused {} flaps {}",
        c.hours,
        c.waited(0.5),
        c.waited(0.95),
        c.waited(0.99),
        c.refused,
        c.flaps
    )
}
