//! What every reconcile works with.

use kube::Client;

use crate::apply::Writer;
use crate::cache::Cache;
use crate::entries::Entries;
use crate::load::Loads;
use crate::reach::Reaches;
use crate::rollouts::Rollouts;
use crate::scaling::Scales;
use crate::settings::Settings;
use crate::spends::Spends;
use crate::upgrades::Upgrades;

/// Read from the cache, write through the writer; `client` is only for the rare question that a
/// cache must not answer.
#[derive(Clone)]
pub struct Context {
    pub cache: Cache,
    pub entries: Entries,
    pub loads: Loads,
    pub reaches: Reaches,
    pub rollouts: Rollouts,
    pub scales: Scales,
    pub spends: Spends,
    pub upgrades: Upgrades,
    pub writer: Writer,
    pub settings: Settings,
    pub client: Client,
}
