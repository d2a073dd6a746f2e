//! Zig-zag varints (`ByteUtils`), read from the front of a slice.

/// Takes a 32-bit varint off the front of `bytes`; `None` when it is cut short or longer than five bytes.
pub(crate) fn read_i32(bytes: &mut &[u8]) -> Option<i32> {
    let mut value = 0u32;
    for shift in (0..35).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value >> 1) as i32 ^ -((value & 1) as i32));
        }
    }
    None
}

/// Takes a 64-bit varint off the front of `bytes`; `None` when it is cut short or longer than ten bytes.
pub(crate) fn read_i64(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

/// Appends a 64-bit varint; a 32-bit value has the same bytes in either width.
pub(crate) fn write(out: &mut Vec<u8>, value: i64) {
    let mut rest = (value << 1) as u64 ^ (value >> 63) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// How many bytes [`write`] appends.
pub(crate) fn len(value: i64) -> usize {
    let zigzag = (value << 1) as u64 ^ (value >> 63) as u64;
    (64 - (zigzag | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(value: i64, narrow: i32) {
            let mut bytes = Vec::new();
            write(&mut bytes, value);
            prop_assert_eq!(bytes.len(), len(value));
            prop_assert_eq!(read_i64(&mut &bytes[..]), Some(value));

            bytes.clear();
            write(&mut bytes, i64::from(narrow));
            prop_assert_eq!(read_i32(&mut &bytes[..]), Some(narrow));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            read_i32(&mut &bytes[..]);
            read_i64(&mut &bytes[..]);
        }
    }

    #[test]
    fn an_overlong_or_torn_varint_is_none() {
        assert_eq!(read_i32(&mut &[0x80; 6][..]), None);
        assert_eq!(read_i64(&mut &[0x80; 11][..]), None);
        assert_eq!(read_i32(&mut &[0x80][..]), None);
        assert_eq!(read_i64(&mut &[][..]), None);
    }
}
