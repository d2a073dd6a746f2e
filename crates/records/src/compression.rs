//! The four codecs, both ways. What decompresses is bounded by its caller: a kilobyte can hold a gigabyte.

use crate::batch::CorruptBatch;
use crate::snappy;
use std::fmt;
use std::io::{Read, Write};

/// How the records of a batch are compressed, as one blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// A gzip stream.
    Gzip,
    /// Snappy blocks in the framing of Java's `SnappyOutputStream`.
    Snappy,
    /// An LZ4 frame.
    Lz4,
    /// A zstd frame (KIP-110).
    Zstd,
}

impl Compression {
    /// All of them, in the order of their numbers.
    pub const ALL: [Compression; 5] =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    /// The number in a batch's attributes.
    pub fn id(self) -> u8 {
        self as u8
    }

    /// The compression with this number, if there is one.
    pub fn from_id(id: u8) -> Option<Compression> {
        Compression::ALL.get(usize::from(id)).copied()
    }

    /// Kafka's name, as in `compression.type`.
    pub fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A compression and how hard it tries (KIP-390). LZ4 and snappy have no levels here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Codec {
    /// The compression.
    pub compression: Compression,
    /// gzip: 1–9; zstd: up to 22. `None` is the codec's default. Out of range is clamped.
    pub level: Option<i32>,
}

impl From<Compression> for Codec {
    fn from(compression: Compression) -> Codec {
        Codec { compression, level: None }
    }
}

const GZIP_LEVEL_DEFAULT: u32 = 6;
const ZSTD_LEVEL_DEFAULT: i32 = 3;

/// Appends `bytes`, compressed, to `out`.
pub(crate) fn compress(codec: Codec, bytes: &[u8], out: &mut Vec<u8>) {
    const MEMORY: &str = "writing to memory does not fail";
    match codec.compression {
        Compression::None => out.extend_from_slice(bytes),
        Compression::Gzip => {
            let level = codec.level.and_then(|level| u32::try_from(level).ok()).unwrap_or(GZIP_LEVEL_DEFAULT);
            let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::new(level.min(9)));
            encoder.write_all(bytes).expect(MEMORY);
            encoder.finish().expect(MEMORY);
        }
        Compression::Snappy => snappy::compress(bytes, out),
        Compression::Lz4 => {
            // Kafka's `KafkaLZ4BlockOutputStream`: independent blocks of 64 kB, no checksums.
            let frame = lz4_flex::frame::FrameInfo::new()
                .block_mode(lz4_flex::frame::BlockMode::Independent)
                .block_size(lz4_flex::frame::BlockSize::Max64KB);
            let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(frame, out);
            encoder.write_all(bytes).expect(MEMORY);
            encoder.finish().expect(MEMORY);
        }
        Compression::Zstd => {
            let level = codec.level.unwrap_or(ZSTD_LEVEL_DEFAULT);
            let mut encoder = zstd::stream::write::Encoder::new(out, level).expect("zstd clamps its level");
            encoder.write_all(bytes).expect(MEMORY);
            encoder.finish().expect(MEMORY);
        }
    }
}

/// Returns `bytes` decompressed.
///
/// Memory grows with what comes out, up to `bytes_max`; a frame may also make its decoder set aside a window,
/// 4 MB for LZ4 and at most 128 MB of address space for zstd, of which only what is used is touched.
///
/// # Errors
/// [`CorruptBatch::Compressed`], or [`CorruptBatch::TooLargeDecompressed`] beyond `bytes_max`.
pub fn decompress(compression: Compression, bytes: &[u8], bytes_max: usize) -> Result<Vec<u8>, CorruptBatch> {
    let corrupt = CorruptBatch::Compressed(compression);
    match compression {
        Compression::None => Ok(bytes.to_vec()),
        Compression::Gzip => read_bounded(flate2::read::MultiGzDecoder::new(bytes), bytes_max, corrupt),
        Compression::Snappy => snappy::decompress(bytes, bytes_max),
        // The format before it has blocks of 8 MB, which the decoder would set aside twice.
        Compression::Lz4 if !bytes.starts_with(&LZ4_FRAME) => Err(corrupt),
        Compression::Lz4 => read_bounded(lz4_flex::frame::FrameDecoder::new(bytes), bytes_max, corrupt),
        Compression::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(bytes).map_err(|_| corrupt)?;
            read_bounded(decoder, bytes_max, corrupt)
        }
    }
}

/// What a frame of LZ4 begins with: the only format that Kafka's clients write.
const LZ4_FRAME: [u8; 4] = 0x184D_2204_u32.to_le_bytes();

fn read_bounded(
    decoder: impl Read,
    bytes_max: usize,
    corrupt: CorruptBatch,
) -> Result<Vec<u8>, CorruptBatch> {
    let mut out = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    decoder.take(limit).read_to_end(&mut out).map_err(|_| corrupt)?;
    if out.len() > bytes_max {
        return Err(CorruptBatch::TooLargeDecompressed(bytes_max));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_older_format_of_lz4_is_refused() {
        let legacy = [&0x184C_2102_u32.to_le_bytes()[..], &[0x15; 40]].concat();
        assert_eq!(
            decompress(Compression::Lz4, &legacy, 1 << 20),
            Err(CorruptBatch::Compressed(Compression::Lz4))
        );
    }

    fn compressed(compression: Compression, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        compress(compression.into(), bytes, &mut out);
        out
    }

    proptest! {
        #[test]
        fn what_is_compressed_decompresses(seed: Vec<u8>, times in 0..2000usize) {
            let bytes = seed.repeat(times.min(300_000 / (seed.len() + 1)));
            for compression in Compression::ALL {
                let blob = compressed(compression, &bytes);
                prop_assert_eq!(&decompress(compression, &blob, bytes.len()).unwrap(), &bytes);
            }
        }

        #[test]
        fn any_blob_is_refused_or_bounded(blob: Vec<u8>) {
            for compression in &Compression::ALL[1..] {
                if let Ok(bytes) = decompress(*compression, &blob, 4096) {
                    prop_assert!(bytes.len() <= 4096);
                }
            }
        }
    }

    #[test]
    fn a_bomb_stops_at_the_bound() {
        let zeros = vec![0; 1 << 20];
        for compression in &Compression::ALL[1..] {
            let blob = compressed(*compression, &zeros);
            assert!(decompress(*compression, &blob, zeros.len()).is_ok(), "{compression}");
            assert_eq!(
                decompress(*compression, &blob, zeros.len() - 1),
                Err(CorruptBatch::TooLargeDecompressed(zeros.len() - 1)),
                "{compression}"
            );
        }
    }

    #[test]
    fn a_torn_blob_is_refused() {
        let bytes: Vec<u8> =
            (0..100_000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
        for compression in &Compression::ALL[1..] {
            let blob = compressed(*compression, &bytes);
            let torn = decompress(*compression, &blob[..blob.len() / 2], 1 << 20);
            assert!(torn != Ok(bytes.clone()), "{compression}");
        }
    }

    #[test]
    fn the_lz4_frame_is_the_one_kafka_writes() {
        assert_eq!(compressed(Compression::Lz4, b"x")[..7], [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82]);
    }
}
