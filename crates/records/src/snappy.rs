//! Snappy as Java's `SnappyOutputStream` frames it (xerial): a 16-byte header, then blocks with their lengths.
//! Some producers send one raw block instead; that is read too.

use crate::batch::CorruptBatch;
use crate::compression::Compression;

/// Magic, version 1, oldest compatible version 1.
const HEADER: &[u8; 16] = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
const MAGIC_BYTES: usize = 8;
/// The block size of `SnappyOutputStream`.
const BLOCK_BYTES: usize = 32 * 1024;
/// No element of snappy yields more than 64 bytes from fewer than 3.
const EXPANSION_MAX: usize = 32;
const CORRUPT: CorruptBatch = CorruptBatch::Compressed(Compression::Snappy);

/// Appends `bytes`, compressed and framed, to `out`.
pub(crate) fn compress(bytes: &[u8], out: &mut Vec<u8>) {
    let mut encoder = snap::raw::Encoder::new();
    let mut block = vec![0; snap::raw::max_compress_len(BLOCK_BYTES.min(bytes.len()))];
    out.extend_from_slice(HEADER);
    for chunk in bytes.chunks(BLOCK_BYTES) {
        let length = encoder.compress(chunk, &mut block).expect("the buffer holds the longest outcome");
        out.extend_from_slice(&(length as u32).to_be_bytes());
        out.extend_from_slice(&block[..length]);
    }
}

/// Returns `bytes` decompressed, framed or raw, if that is no more than `bytes_max`.
pub(crate) fn decompress(bytes: &[u8], bytes_max: usize) -> Result<Vec<u8>, CorruptBatch> {
    let mut out = Vec::new();
    if !bytes.starts_with(&HEADER[..MAGIC_BYTES]) {
        block(bytes, &mut out, bytes_max)?;
        return Ok(out);
    }
    let mut rest = bytes.get(HEADER.len()..).ok_or(CORRUPT)?;
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<4>().ok_or(CORRUPT)?;
        let length = u32::from_be_bytes(*length) as usize;
        let (compressed, after) = after.split_at_checked(length).ok_or(CORRUPT)?;
        block(compressed, &mut out, bytes_max)?;
        rest = after;
    }
    Ok(out)
}

fn block(bytes: &[u8], out: &mut Vec<u8>, bytes_max: usize) -> Result<(), CorruptBatch> {
    let length = snap::raw::decompress_len(bytes).map_err(|_| CORRUPT)?;
    if length > bytes_max - out.len() {
        return Err(CorruptBatch::TooLargeDecompressed(bytes_max));
    }
    // The length is the producer's word: memory is set aside only for what its bytes could hold.
    if length > bytes.len().saturating_mul(EXPANSION_MAX) {
        return Err(CORRUPT);
    }
    let start = out.len();
    out.resize(start + length, 0);
    let written = snap::raw::Decoder::new().decompress(bytes, &mut out[start..]).map_err(|_| CORRUPT)?;
    if written == length { Ok(()) } else { Err(CORRUPT) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_block_is_read() {
        let raw = snap::raw::Encoder::new().compress_vec(b"raw raw raw raw").unwrap();

        assert_eq!(decompress(&raw, 100).unwrap(), b"raw raw raw raw");
    }

    #[test]
    fn a_length_that_lies_sets_no_memory_aside() {
        // A varint of 2^28 and nothing that could decompress to it.
        let blob = [0x80, 0x80, 0x80, 0x80, 0x01, 0, 0];

        assert_eq!(decompress(&blob, usize::MAX), Err(CORRUPT));
    }

    #[test]
    fn large_input_is_cut_into_blocks() {
        let bytes = vec![7; 3 * BLOCK_BYTES + 1];
        let mut blob = Vec::new();
        compress(&bytes, &mut blob);

        assert_eq!(decompress(&blob, bytes.len()).unwrap(), bytes);
    }
}
