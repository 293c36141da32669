//! Where units lie: a device of candle's, with books of its own where its memory is counted.
//!
//! All simulated devices are the CPU to candle; the place is what tells them apart.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use candle_core::{Device, Result, Tensor};

use crate::Problem;
use crate::checkpoint::Unit;
use crate::devices::meter::{Charge, Meter, Owner, Part};

/// A place for units. Clones are the same place.
#[derive(Debug, Clone)]
pub struct Place(Arc<Known>);

#[derive(Debug)]
struct Known {
    name: String,
    device: Device,
    meter: Option<Meter>,
    apart: bool,
}

/// GPUs in use, by ordinal: candle's devices are equal only to themselves, so there is one of each.
static GPUS: Mutex<Vec<(usize, Weak<Known>)>> = Mutex::new(Vec::new());

impl Place {
    /// A GPU by its CUDA ordinal, with a stream of its own, and with the books that its pool keeps. As long as it is in
    /// use anywhere it is the same place; a fault that spoils its context ends with the last use.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn cuda(name: impl Into<String>, ordinal: usize) -> Result<Self> {
        let mut gpus = GPUS.lock().unwrap_or_else(PoisonError::into_inner);
        gpus.retain(|(_, gpu)| gpu.strong_count() > 0);
        if let Some(gpu) = gpus.iter().find(|(known, _)| *known == ordinal).and_then(|(_, gpu)| gpu.upgrade())
        {
            return Ok(Self(gpu));
        }
        let (name, device) = (name.into(), Device::new_cuda_with_stream(ordinal)?);
        #[cfg(feature = "cuda")]
        let meter =
            crate::devices::cuda::CudaPool::of(&device).map(|pool| Meter::of_pool(name.clone(), pool));
        #[cfg(not(feature = "cuda"))]
        let meter = None;
        let gpu = Arc::new(Known { name, device, meter, apart: false });
        gpus.push((ordinal, Arc::downgrade(&gpu)));
        Ok(Self(gpu))
    }

    /// A device of candle's, its memory not counted.
    pub fn new(name: impl Into<String>, device: Device) -> Self {
        Self(Arc::new(Known { name: name.into(), device, meter: None, apart: false }))
    }

    /// The CPU, its memory not counted.
    pub fn cpu() -> Self {
        Self::new("cpu", Device::Cpu)
    }

    /// The CPU with books; host memory is its memory, so nothing is copied to it from there.
    ///
    /// # Errors
    /// As [`Meter::new`].
    pub fn metered_cpu() -> crate::Result<Self> {
        let meter = Meter::new("cpu", None)?;
        Ok(Self(Arc::new(Known {
            name: "cpu".into(),
            device: Device::Cpu,
            meter: Some(meter),
            apart: false,
        })))
    }

    /// A simulated device of so many bytes: the CPU computes, what it holds is counted, and more is refused.
    ///
    /// # Errors
    /// As [`Meter::new`].
    pub fn simulated(name: impl Into<String>, capacity: u64) -> crate::Result<Self> {
        let name = name.into();
        let meter = Some(Meter::new(name.clone(), Some(capacity))?);
        Ok(Self(Arc::new(Known { name, device: Device::Cpu, meter, apart: true })))
    }

    /// Its name, `cuda:0`, `sim:3`, `cpu`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// What candle calls it.
    pub fn device(&self) -> &Device {
        &self.0.device
    }

    /// Its books, where its memory is counted.
    pub fn meter(&self) -> Option<&Meter> {
        self.0.meter.as_ref()
    }

    /// Whether two are the same place.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Does work whose memory belongs here, and asks afterwards whether there was enough of it; if not, what was made
    /// is dropped again.
    ///
    /// # Errors
    /// The work's own, or too little memory ([`crate::problem::OutOfMemory::of`] tells it from others).
    pub fn work<T>(&self, part: Part, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.attempt(part, work)
    }

    /// [`Place::work`] for loading, whose errors are sentences.
    ///
    /// # Errors
    /// As [`Place::work`].
    pub fn load<T>(&self, load: impl FnOnce() -> crate::Result<T>) -> crate::Result<T> {
        self.attempt(Part::Weights, load)
    }

    fn attempt<T, E: From<crate::problem::OutOfMemory>>(
        &self,
        part: Part,
        work: impl FnOnce() -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let Some(meter) = self.meter() else { return work() };
        let made = {
            let _here = meter.enter(part);
            work()
        };
        // A mark that is left standing would fail someone else's work, whatever became of this one.
        meter.check()?;
        made
    }

    /// A tensor that lies elsewhere, here; the copy is made before this returns, so the other may be dropped. A tensor
    /// that lies here already is not copied. `from` is where it lies, `None` for host memory.
    ///
    /// # Errors
    /// Too little memory, or a device that fails.
    pub fn receive(&self, x: &Tensor, from: Option<&Place>) -> Result<Tensor> {
        match from {
            Some(place) if place.is(self) => return Ok(x.clone()),
            // Host memory is one, whatever it is called.
            _ if !self.0.apart
                && from.is_none_or(|place| !place.0.apart)
                && x.device().same_device(self.device()) =>
            {
                return Ok(x.clone());
            }
            _ => {}
        }
        self.work(Part::Activation, || match x.device().same_device(self.device()) {
            true => x.force_contiguous(),
            false => super::copies::copied(&x.contiguous()?, self.device()),
        })
    }

    /// Says whether so many more bytes would fit, before they are taken; a place without books cannot tell.
    ///
    /// # Errors
    /// They would not.
    pub fn room_for(&self, bytes: u64) -> Result<()> {
        Ok(self.meter().map_or(Ok(()), |meter| meter.room_for(bytes))?)
    }

    /// Counts weights that are used here without being copied here.
    ///
    /// # Errors
    /// They do not fit.
    pub fn charge(&self, bytes: u64) -> crate::Result<Option<Charge>> {
        let Some(meter) = self.meter().filter(|_| bytes > 0) else { return Ok(None) };
        let charge = meter.charge(Part::Weights, bytes);
        meter.check()?;
        Ok(Some(charge))
    }

    /// For whom threads work that help with the work of this place.
    pub fn owner(&self, part: Part) -> Owner {
        self.meter().map_or(Owner::HOST, |meter| meter.owner(part))
    }
}

/// Which unit lies where.
#[derive(Debug, Clone)]
pub struct Placement {
    places: Vec<Place>,
    /// By name of a unit; a unit that is not named lies on the first place.
    of: HashMap<String, usize>,
}

impl Placement {
    /// Every unit on one place.
    pub fn single(place: Place) -> Self {
        Self { places: vec![place], of: HashMap::new() }
    }

    /// Units by name, each with the number of its place.
    ///
    /// # Errors
    /// There is no place, or not the one that is numbered.
    pub fn new(places: Vec<Place>, of: HashMap<String, usize>) -> crate::Result<Self> {
        match of.iter().find(|(_, place)| **place >= places.len()) {
            Some((unit, place)) => Err(Problem::new(format!("there is no place {place} for it")).at(unit)),
            None if places.is_empty() => Err(Problem::new("there is no place for the units")),
            None => Ok(Self { places, of }),
        }
    }

    /// The place of a unit.
    pub fn of(&self, unit: &Unit) -> Place {
        self.places[self.of.get(&unit.name).copied().unwrap_or(0)].clone()
    }

    /// All places, also those on which nothing lies.
    pub fn places(&self) -> &[Place] {
        &self.places
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::OutOfMemory;
    use candle_core::DType;

    fn ones(count: usize) -> Result<Tensor> {
        Tensor::ones(count, DType::F32, &Device::Cpu)
    }

    fn live(place: &Place) -> u64 {
        place.meter().unwrap().live()
    }

    #[test]
    fn a_tensor_changes_places_by_a_copy_and_stays_by_none() {
        let (a, b) =
            (Place::simulated("sim:0", 1 << 20).unwrap(), Place::simulated("sim:1", 1 << 20).unwrap());
        let whole = a.receive(&ones(1000).unwrap(), None).unwrap();
        assert!((4000..4400).contains(&live(&a)));
        let part = a.work(Part::Activation, || whole.narrow(0, 10, 100)).unwrap();
        let moved = b.receive(&part, Some(&a)).unwrap();
        assert!((400..800).contains(&live(&b)), "only what is seen of it is copied: {}", live(&b));
        let stays = live(&a);
        let same = a.receive(&whole, Some(&a)).unwrap();
        assert_eq!(live(&a), stays);
        drop((whole, part, same));
        assert_eq!(live(&a), 0);
        assert_eq!(moved.to_vec1::<f32>().unwrap(), vec![1f32; 100]);
    }

    #[test]
    fn the_cpu_takes_nothing_from_host_memory_twice() {
        let cpu = Place::metered_cpu().unwrap();
        let x = ones(1000).unwrap();
        let there = cpu.receive(&x, None).unwrap();
        assert_eq!(live(&cpu), 0);
        drop(there);
    }

    #[test]
    fn too_little_memory_is_told_from_other_errors() {
        let place = Place::simulated("sim:7", 10_000).unwrap();
        let error = place.work(Part::Activation, || ones(5000)).unwrap_err();
        let short = OutOfMemory::of(&error).unwrap();
        assert_eq!((short.device.as_str(), short.capacity), ("sim:7", Some(10_000)));
        assert!(short.needed > 20_000 && live(&place) == 0);
        let problem = crate::Problem::from(error);
        assert_eq!(problem.out_of_memory.as_deref(), Some(&short));
        let other = place.work(Part::Activation, || ones(10)?.reshape(7)).unwrap_err();
        assert!(OutOfMemory::of(&other).is_none());
        // An error that was made here lies here.
        drop(other);
        assert!(place.work(Part::Activation, || ones(10)).is_ok(), "the mark was taken");
        assert!(place.room_for(9_999).is_ok() && place.room_for(10_001).is_err());
        assert!(place.charge(20_000).is_err() && live(&place) == 0);
    }
}
