//! Which model a request is for: the one that is served, or one of its adapters as `MODEL:ADAPTER`.

use std::sync::Arc;

use weir_engine::{Origin, model::Adapter};

use super::Serving;
use crate::refusal::Refusal;

/// Between the name of the model and that of an adapter.
const BORDER: char = ':';

/// What a request is answered with.
#[derive(Debug, Clone, Default)]
pub(super) struct Answering {
    /// The adapter and its name; none for the model itself.
    pub adapter: Option<(Arc<str>, Arc<Adapter>)>,
}

impl Answering {
    pub fn origin(&self, tenant: String) -> Origin {
        Origin {
            tenant: tenant.into(),
            adapter: self.adapter.as_ref().map(|(_, adapter)| adapter.clone()),
        }
    }

    /// Of the adapter; empty for the model itself.
    pub fn digest(&self) -> &str {
        let adapter = self.adapter.as_ref();
        adapter.map_or("", |(_, adapter)| adapter.digest())
    }
}

impl Serving {
    /// Refuses what must not begin now, and a model that is not served here. An empty name means
    /// the one there is.
    pub(super) fn admit(&self, model: &str) -> Result<Answering, Refusal> {
        if self.shutdown.is_draining() {
            return Err(Refusal::Draining);
        }
        self.find(model)
    }

    /// The whole name of a model that was admitted.
    pub(super) fn called<'a>(&'a self, model: &'a str) -> &'a str {
        match model {
            "" => &self.name,
            named => named,
        }
    }

    fn find(&self, model: &str) -> Result<Answering, Refusal> {
        if model.is_empty() || model == self.name {
            return Ok(Answering::default());
        }
        let adapter = model.strip_prefix(&*self.name);
        let adapter = adapter.and_then(|rest| rest.strip_prefix(BORDER));
        let found = adapter.and_then(|name| self.adapters.borrow().find(name));
        if found.is_some() {
            return Ok(Answering { adapter: found });
        }
        let (asked, known) = (model.to_owned(), self.model_names().join(", "));
        // Whoever follows no list gets no adapters.
        let may_come = adapter.is_some() && self.adapters.has_changed().is_ok();
        Err(match may_come {
            true => Refusal::UnknownAdapter { asked, known },
            false => Refusal::UnknownModel { asked, known },
        })
    }

    /// The model, and each adapter that answers can be written with.
    pub fn model_names(&self) -> Vec<String> {
        let adapters = self.adapters.borrow();
        let adapters = adapters.served();
        let names = adapters.map(|(name, _)| format!("{}{BORDER}{name}", self.name));
        std::iter::once(self.name.clone()).chain(names).collect()
    }
}
