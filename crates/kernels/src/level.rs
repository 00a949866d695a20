//! Which vector instructions are used: the best that the processor has, or those that the environment asks for.

use std::sync::LazyLock;

/// The environment variable that asks for a level: `portable`, `avx2` or `avx512`.
///
/// A level that the processor does not have is not taken, and neither is an unknown one: then the best is.
pub const LEVEL_VARIABLE: &str = "SAFEVLM_SIMD";

/// Vector instructions, from few to many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What every processor of the architecture has: SSE2 on x86-64, NEON on AArch64.
    Portable,
    /// AVX2, FMA and F16C.
    Avx2,
    /// AVX-512 F, BW, DQ and VL besides.
    Avx512,
}

impl Level {
    /// All levels that this processor has, the best one last.
    pub fn available() -> Vec<Level> {
        let has = Level::detected();
        [Level::Portable, Level::Avx2, Level::Avx512].into_iter().filter(|level| *level <= has).collect()
    }

    /// The best level that this processor has; each includes those before it.
    fn detected() -> Level {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            if has!("avx2") && has!("fma") && has!("f16c") {
                return match has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl") {
                    true => Level::Avx512,
                    false => Level::Avx2,
                };
            }
        }
        Level::Portable
    }

    /// The level's name, as [`LEVEL_VARIABLE`] takes it.
    pub fn name(self) -> &'static str {
        match self {
            Level::Portable => "portable",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
        }
    }
}

/// The level that all kernels use, found once.
pub fn level() -> Level {
    static LEVEL: LazyLock<Level> = LazyLock::new(|| {
        let available = Level::available();
        let asked = std::env::var(LEVEL_VARIABLE).ok();
        let asked = available.iter().find(|level| asked.as_deref() == Some(level.name()));
        asked.or(available.last()).copied().unwrap_or(Level::Portable)
    });
    *LEVEL
}

/// `a · b + c`, as the instructions at hand do it best.
pub(crate) trait MulAdd {
    /// Whether 12 vectors of sums and what goes into them fit into the registers, with 8 values a vector or 32
    /// registers; otherwise 16 vectors of 4 are all there is.
    const ROOMY: bool;

    /// `a · b + c`
    fn mul_add(a: f32, b: f32, c: f32) -> f32;
}

/// One instruction, one rounding: for processors that have it. Elsewhere it would be a slow function.
pub(crate) struct Fused;

/// Two instructions, two roundings.
#[cfg(not(target_arch = "aarch64"))]
pub(crate) struct Separate;

impl MulAdd for Fused {
    const ROOMY: bool = true;

    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
}

#[cfg(not(target_arch = "aarch64"))]
impl MulAdd for Separate {
    const ROOMY: bool = false;

    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
}

/// Defines a function whose body, generic over `M: MulAdd`, is compiled once for each [`Level`]; the compiler turns
/// its loops over fixed numbers of values into that level's instructions. The body must only call functions that
/// are inlined into it. `name(level, ..)` runs it at that level, which must be one of [`Level::available`].
macro_rules! vectorised {
    ($(#[$meta:meta])* $vis:vis fn $name:ident<$M:ident>($($arg:ident: $type:ty),* $(,)?) $(-> $out:ty)? $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name(level: $crate::level::Level, $($arg: $type),*) $(-> $out)? {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn body<$M: $crate::level::MulAdd>($($arg: $type),*) $(-> $out)? $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c")]
            #[allow(clippy::too_many_arguments)]
            fn avx2($($arg: $type),*) $(-> $out)? {
                body::<$crate::level::Fused>($($arg),*)
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
            #[allow(clippy::too_many_arguments)]
            fn avx512($($arg: $type),*) $(-> $out)? {
                body::<$crate::level::Fused>($($arg),*)
            }

            match level {
                // SAFETY: a level is only taken after its features have been found.
                #[cfg(target_arch = "x86_64")]
                $crate::level::Level::Avx512 => unsafe { avx512($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::level::Level::Avx2 => unsafe { avx2($($arg),*) },
                #[cfg(target_arch = "aarch64")]
                _ => body::<$crate::level::Fused>($($arg),*),
                #[cfg(not(target_arch = "aarch64"))]
                _ => body::<$crate::level::Separate>($($arg),*),
            }
        }
    };
}
