//! Weights on their way into memory: as an earlier start packed them, or packed while another
//! thread computes the digest.

use std::panic::resume_unwind;
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

use weir_kernels::Cpu;

use crate::LoadError;
use crate::decoder::Decoder;
use crate::digest::Digested;
use crate::layers::{self, Layout};
use crate::packed_cache::{Begun, Identity, PackedFile, Stamp, Unfit, Upkeep, Weights as Packed};
use crate::report::Clock;
use crate::spec::DecoderSpec;
use crate::weights::{Made, Source, Weights};

/// What is asked of a load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// Where packed weights are kept.
    pub(crate) folder: Option<&'a Path>,
    pub(crate) weights: Packed,
    /// Whether every tensor must have its place.
    pub(crate) must_be_whole: bool,
}

#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) decoder: Decoder,
    pub(crate) made: Made,
    /// Over every file of the model.
    pub(crate) digest: String,
    pub(crate) upkeep: Option<Upkeep>,
}

/// Loads the weights of a model that was opened.
///
/// # Errors
/// Names the tensor that is missing or that cannot be served.
pub(crate) fn load(
    (spec, layout, source): (DecoderSpec, Layout, Source),
    digested: &Digested,
    asked: Asked<'_>,
    cpu: &Cpu,
) -> Result<Loaded, LoadError> {
    let mut earlier = Earlier::look(digested, asked, cpu);
    let rounding = asked.weights.quantization.rounding();
    let how = (rounding, asked.must_be_whole);
    let mut weights = Weights::new(source, cpu, how, earlier.file.take());
    let known = earlier.digest.take();
    let (decoder, (digest, taken)) = beside(digested, known, || {
        layers::decoder(spec, layout, &mut weights)
    });
    let decoder = decoder?;
    let mut made = weights.finish()?;
    made.report.digest_was_noted = earlier.begun.as_ref().is_some_and(|begun| begun.is_noted);
    made.report.phases.digest = earlier.digesting + taken;
    made.report.phases.map = earlier.mapping;
    made.report.unfit = earlier.unfit(&made, &digest, asked);
    let is_unfit = made.report.unfit.is_some();
    let packed = std::mem::take(&mut made.packed);
    let upkeep = earlier.begun.map(|begun| Upkeep {
        begun: Begun { is_unfit, ..begun },
        identity: Identity {
            digest: digest.clone(),
            weights: asked.weights,
        },
        weights: if made.report.packed == 0 {
            Vec::new()
        } else {
            packed
        },
    });
    Ok(Loaded {
        decoder,
        made,
        digest,
        upkeep,
    })
}

/// What earlier starts left.
struct Earlier {
    /// Nothing where nothing is kept.
    begun: Option<Begun>,
    /// Where it is known before the weights are read.
    digest: Option<String>,
    file: Option<PackedFile>,
    unfit: Option<Unfit>,
    digesting: Duration,
    mapping: Duration,
}

impl Earlier {
    /// The digest is waited for only where these weights may lie packed under it.
    fn look(digested: &Digested, asked: Asked<'_>, cpu: &Cpu) -> Self {
        let mut found = Self {
            begun: None,
            digest: None,
            file: None,
            unfit: None,
            digesting: Duration::ZERO,
            mapping: Duration::ZERO,
        };
        let Some(folder) = asked.folder else {
            return found;
        };
        let began = SystemTime::now();
        let stamp = Stamp::of(digested).ok();
        let noted = stamp.as_ref().and_then(|stamp| stamp.noted(folder));
        found.begun = Some(Begun {
            folder: folder.to_owned(),
            stamp,
            is_noted: noted.is_some(),
            began,
            is_unfit: false,
        });
        if !asked.weights.may_lie_in(folder) {
            found.digest = noted;
            return found;
        }
        let clock = Clock::start();
        let digest = noted.unwrap_or_else(|| digested.digest());
        clock.add_to(&mut found.digesting);
        let identity = Identity {
            digest: digest.clone(),
            weights: asked.weights,
        };
        let clock = Clock::start();
        match identity.find(folder, cpu) {
            Ok(file) => found.file = file,
            Err(unfit) => found.unfit = Some(unfit),
        }
        clock.add_to(&mut found.mapping);
        found.digest = Some(digest);
        found
    }

    /// Why the file was not used, or not all of the weights were in it.
    fn unfit(&mut self, made: &Made, digest: &str, asked: Asked<'_>) -> Option<Unfit> {
        let lacking = made.lacking.as_ref().zip(asked.folder);
        let lacking = lacking.map(|(weight, folder)| {
            let identity = Identity {
                digest: digest.to_owned(),
                weights: asked.weights,
            };
            identity.lacks(folder, weight)
        });
        self.unfit.take().or(lacking)
    }
}

/// What `work` returns, and the digest with the time that it took here, on a thread of its own
/// unless it is known.
fn beside<T>(
    digested: &Digested,
    known: Option<String>,
    work: impl FnOnce() -> T,
) -> (T, (String, Duration)) {
    if let Some(known) = known {
        return (work(), (known, Duration::ZERO));
    }
    let digest = || {
        let (clock, mut taken) = (Clock::start(), Duration::ZERO);
        let digest = digested.digest();
        clock.add_to(&mut taken);
        (digest, taken)
    };
    thread::scope(|scope| {
        let name = thread::Builder::new().name("digest".to_owned());
        let digesting = name.spawn_scoped(scope, digest);
        let done = work();
        let digest = match digesting {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            // The system gives no more threads.
            Err(_) => digest(),
        };
        (done, digest)
    })
}
