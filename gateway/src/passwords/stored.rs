//! Hashes as they are stored: made, read, and compared with a password. All of it runs in the pool's threads.
//!
//! argon2id (RFC 9106) in the PHC string format for what we make (ruling 13); bcrypt is only verified.

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash as Phc, Salt};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Block, Params, Version};
use schemas::values::PasswordHash;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::Password;
use super::hasher::Verdict;
use crate::keys::{KeyError, random};

/// The random bytes of a salt (RFC 9106 §3.1).
const SALT_BYTES: usize = 16;
/// The bytes of a hash, without salt and costs.
const OUTPUT_BYTES: usize = 32;
/// bcrypt looks at no byte after these.
const BCRYPT_BYTES_MAX: usize = 72;
/// The costliest bcrypt that is run: about four seconds of a core.
const BCRYPT_COST_MAX: u32 = 16;

/// What a hash costs to make, and to try. The defaults are OWASP's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashParameters {
    /// 8 to 1,048,576 KiB, and at least 8 for each lane. Each thread of the pool holds as much.
    pub memory_kib: u32,
    /// 1 to 64. Together with the memory at most 4 GiB are written.
    pub passes: u32,
    /// 1 to 16. One thread works on all of them: more lanes make nothing faster here.
    pub lanes: u32,
}

impl Default for HashParameters {
    fn default() -> Self {
        Self { memory_kib: 19_456, passes: 2, lanes: 1 }
    }
}

/// Which bound a cost is outside of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidParameters {
    #[error("a password's hash must use {min} to {max} KiB of memory, not {0}",
        min = HashParameters::MEMORY_KIB_MIN, max = HashParameters::MEMORY_KIB_MAX)]
    Memory(u32),
    #[error("a password's hash must make 1 to {max} passes over its memory, not {0}", max = HashParameters::PASSES_MAX)]
    Passes(u32),
    #[error("a password's hash must have 1 to {max} lanes, not {0}", max = HashParameters::LANES_MAX)]
    Lanes(u32),
    #[error("a password's hash of {lanes} lanes needs {min} KiB of memory or more, not {memory_kib}", min = lanes * 8)]
    MemoryOfLanes { lanes: u32, memory_kib: u32 },
    #[error("a password's hash may write {max} KiB in all its passes, not {passes} times {memory_kib}",
        max = HashParameters::WORK_KIB_MAX)]
    Work { memory_kib: u32, passes: u32 },
}

impl HashParameters {
    pub const MEMORY_KIB_MIN: u32 = 8;
    pub const MEMORY_KIB_MAX: u32 = 1_048_576;
    pub const PASSES_MAX: u32 = 64;
    pub const LANES_MAX: u32 = 16;
    /// Memory times passes: about four seconds of a core.
    pub const WORK_KIB_MAX: u32 = 4_194_304;

    /// # Errors
    /// A cost is out of bounds.
    pub fn check(&self) -> Result<(), InvalidParameters> {
        let Self { memory_kib, passes, lanes } = *self;
        if !(Self::MEMORY_KIB_MIN..=Self::MEMORY_KIB_MAX).contains(&memory_kib) {
            return Err(InvalidParameters::Memory(memory_kib));
        }
        if !(1..=Self::PASSES_MAX).contains(&passes) {
            return Err(InvalidParameters::Passes(passes));
        }
        if !(1..=Self::LANES_MAX).contains(&lanes) {
            return Err(InvalidParameters::Lanes(lanes));
        }
        if memory_kib < lanes * 8 {
            return Err(InvalidParameters::MemoryOfLanes { lanes, memory_kib });
        }
        if memory_kib.saturating_mul(passes) > Self::WORK_KIB_MAX {
            return Err(InvalidParameters::Work { memory_kib, passes });
        }
        Ok(())
    }

    fn of(params: &Params) -> Self {
        Self { memory_kib: params.m_cost(), passes: params.t_cost(), lanes: params.p_cost() }
    }

    fn argon2id(self) -> Result<Argon2<'static>, WorkError> {
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(OUTPUT_BYTES))?;
        Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
    }

    /// True if any of them is less than in `present`.
    fn below(&self, present: &Self) -> bool {
        self.memory_kib < present.memory_kib || self.passes < present.passes || self.lanes < present.lanes
    }
}

/// What went wrong in a thread of the pool.
#[derive(Debug, thiserror::Error)]
pub(super) enum WorkError {
    /// The hash is malformed, of a kind that is not known, or costs more than anybody should be made to pay.
    #[error("the stored hash can't be verified")]
    Unverifiable,
    #[error("there is no memory for a hash")]
    OutOfMemory,
    #[error("argon2 refuses")]
    Argon2(#[from] argon2::Error),
    #[error("a hash can't be written down")]
    Unwritable,
    #[error(transparent)]
    NoRandomness(#[from] KeyError),
}

/// The memory a thread hashes in, kept from one hash to the next.
///
/// Getting it anew each time means to fill it with zeros first: with the default costs 4 % fewer hashes were made, and
/// the system's memory is left alone. It is not overwritten between hashes (nor does argon2 itself do that): after the
/// last pass it tells about as much as the hash.
#[derive(Default)]
pub(super) struct Memory(Vec<Block>);

impl Memory {
    /// `len` blocks. What one costly hash needed more than `usual` is given back by the next that does not.
    fn blocks(&mut self, len: usize, usual: usize) -> Result<&mut [Block], WorkError> {
        if self.0.len() > len.max(usual) {
            self.0.truncate(len.max(usual));
            self.0.shrink_to_fit();
        }
        if let Some(missing) = len.checked_sub(self.0.len()) {
            self.0.try_reserve_exact(missing).map_err(|_| WorkError::OutOfMemory)?;
            self.0.resize(len, Block::new());
        }
        Ok(&mut self.0[..len])
    }

    #[cfg(test)]
    pub(super) fn blocks_held(&self) -> usize {
        self.0.len()
    }
}

/// A new hash of the password.
pub(super) fn make(
    password: &Password,
    parameters: &HashParameters,
    memory: &mut Memory,
) -> Result<PasswordHash, WorkError> {
    let salt = random::<SALT_BYTES>()?;
    let argon2 = parameters.argon2id()?;
    let mut output = Zeroizing::new([0; OUTPUT_BYTES]);
    let blocks = argon2.params().block_count();
    argon2.hash_password_into_with_memory(
        password.as_bytes(),
        &*salt,
        &mut *output,
        memory.blocks(blocks, blocks)?,
    )?;
    written(&argon2, &*salt, &*output)
}

/// A hash that no password is known for, which costs as much as one of those that are made now.
pub(super) fn nobodys(parameters: &HashParameters) -> Result<PasswordHash, WorkError> {
    written(&parameters.argon2id()?, &*random::<SALT_BYTES>()?, &*random::<OUTPUT_BYTES>()?)
}

fn written(argon2: &Argon2<'_>, salt: &[u8], output: &[u8]) -> Result<PasswordHash, WorkError> {
    let phc = || {
        Some(Phc {
            algorithm: ARGON2ID_IDENT,
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(argon2.params()).ok()?,
            salt: Some(Salt::new(salt).ok()?),
            hash: Some(Output::new(output).ok()?),
        })
    };
    phc().and_then(|phc| phc.to_string().parse().ok()).ok_or(WorkError::Unwritable)
}

/// Whether the hash is the password's. Where it is, `rehash` says that it was made more cheaply than it would be now.
pub(super) fn compare(
    password: &Password,
    hash: &PasswordHash,
    present: &HashParameters,
    memory: &mut Memory,
) -> Result<Verdict, WorkError> {
    if hash.as_str().starts_with("$argon2id$") {
        argon2id(password, hash.as_str(), present, memory)
    } else {
        bcrypt(password, hash.as_str())
    }
}

fn argon2id(
    password: &Password,
    hash: &str,
    present: &HashParameters,
    memory: &mut Memory,
) -> Result<Verdict, WorkError> {
    let phc = Phc::new(hash).map_err(|_| WorkError::Unverifiable)?;
    let (Some(salt), Some(expected)) = (&phc.salt, &phc.hash) else { return Err(WorkError::Unverifiable) };
    let params = Params::try_from(&phc).map_err(|_| WorkError::Unverifiable)?;
    let parameters = HashParameters::of(&params);
    parameters.check().map_err(|_| WorkError::Unverifiable)?;
    // The format leaves the version out where it is the first one.
    let version = Version::try_from(phc.version.unwrap_or(0x10)).map_err(|_| WorkError::Unverifiable)?;

    let usual = present.argon2id()?.params().block_count();
    let blocks = memory.blocks(params.block_count(), usual)?;
    let mut output = Zeroizing::new(vec![0; expected.len()]);
    Argon2::new(Algorithm::Argon2id, version, params).hash_password_into_with_memory(
        password.as_bytes(),
        salt,
        &mut output,
        blocks,
    )?;
    if !bool::from(output.ct_eq(expected.as_bytes())) {
        return Ok(Verdict::Wrong);
    }
    let rehash = parameters.below(present)
        || version != Version::V0x13
        || salt.len() < SALT_BYTES
        || expected.len() < OUTPUT_BYTES;
    Ok(Verdict::Right { rehash })
}

/// bcrypt sees the first 72 bytes of a password, like the system that made the hash. A password that long is right by
/// them, but is not hashed anew: a byte that was never compared may be mistyped, and would be asked for from then on.
fn bcrypt(password: &Password, hash: &str) -> Result<Verdict, WorkError> {
    let cost = hash.parse::<bcrypt::HashParts>().map_err(|_| WorkError::Unverifiable)?.get_cost();
    if cost > BCRYPT_COST_MAX {
        return Err(WorkError::Unverifiable);
    }
    match bcrypt::verify(password.as_bytes(), hash).map_err(|_| WorkError::Unverifiable)? {
        true => Ok(Verdict::Right { rehash: password.as_bytes().len() < BCRYPT_BYTES_MAX }),
        false => Ok(Verdict::Wrong),
    }
}

#[cfg(test)]
mod tests;
