//! Primitives: what goes in comes out, and what is no value is refused before it costs anything.

use super::*;
use bytes::Bytes;
use ottla_types::FileRegion;
use proptest::prelude::*;
use std::sync::Arc;

const FORMS: [Form; 2] = [Form::Classic, Form::Flexible];

fn encoded(write: impl FnOnce(&mut Encoder)) -> Vec<u8> {
    let mut out = Encoder::new();
    write(&mut out);
    out.finish_to_vec().unwrap()
}

proptest! {
    #[test]
    fn numbers_survive(a: i8, b: i16, c: u16, d: i32, e: u32, f: i64, g: u32, h: bool) {
        let bytes = encoded(|out| {
            out.i8(a); out.i16(b); out.u16(c); out.i32(d); out.u32(e); out.i64(f); out.uvarint(g); out.bool(h);
        });
        let mut input = Decoder::new(bytes);

        prop_assert_eq!(input.i8(), Ok(a));
        prop_assert_eq!(input.i16(), Ok(b));
        prop_assert_eq!(input.u16(), Ok(c));
        prop_assert_eq!(input.i32(), Ok(d));
        prop_assert_eq!(input.u32(), Ok(e));
        prop_assert_eq!(input.i64(), Ok(f));
        prop_assert_eq!(input.uvarint(), Ok(g));
        prop_assert_eq!(input.bool(), Ok(h));
        prop_assert_eq!(input.finish(), Ok(()));
    }

    #[test]
    fn strings_blobs_and_arrays_survive_in_both_forms(
        text: Option<String>,
        blob: Option<Vec<u8>>,
        numbers: Option<Vec<i32>>,
    ) {
        for form in FORMS {
            let bytes = encoded(|out| {
                out.nullable_string(text.as_deref(), form).unwrap();
                out.nullable_bytes(blob.as_deref(), form).unwrap();
                out.nullable_array(numbers.as_deref(), form, |out, n| { out.i32(*n); Ok(()) }).unwrap();
            });
            let mut input = Decoder::new(bytes);

            prop_assert_eq!(input.nullable_string(form), Ok(text.clone()));
            prop_assert_eq!(input.nullable_bytes(form), Ok(blob.clone().map(Bytes::from)));
            prop_assert_eq!(input.nullable_array(form, 4, Decoder::i32), Ok(numbers.clone()));
            prop_assert_eq!(input.finish(), Ok(()));
        }
    }

    #[test]
    fn noise_never_panics(noise: Vec<u8>) {
        for form in FORMS {
            let _ = Decoder::new(noise.clone()).nullable_string(form);
            let _ = Decoder::new(noise.clone()).nullable_records(form);
            let _ = Decoder::new(noise.clone()).nullable_array(form, 1, |input| input.string(form));
            let _ = Decoder::new(noise.clone()).skip_tagged_fields();
        }
    }
}

#[test]
fn varints_have_their_shortest_form() {
    let cases: [(u32, &[u8]); 6] = [
        (0, &[0]),
        (127, &[0x7f]),
        (128, &[0x80, 1]),
        (300, &[0xac, 2]),
        (16_384, &[0x80, 0x80, 1]),
        (u32::MAX, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
    ];
    for (value, bytes) in cases {
        assert_eq!(encoded(|out| out.uvarint(value)), bytes);
        assert_eq!(Decoder::new(bytes.to_vec()).uvarint(), Ok(value));
    }
    for wrong in [&[0xff, 0xff, 0xff, 0xff, 0x1f][..], &[0x80, 0x80, 0x80, 0x80, 0x80, 0]] {
        assert_eq!(Decoder::new(wrong.to_vec()).uvarint().unwrap_err().kind, DecodeErrorKind::Varint);
    }
}

/// Seven bytes that made other codecs allocate gigabytes.
#[test]
fn an_array_that_cannot_fit_is_refused_at_its_length() {
    let cases = [
        (Form::Classic, vec![0x7f, 0xff, 0xff, 0xff, 0, 0, 0]),
        (Form::Flexible, vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0]),
    ];
    for (form, bytes) in cases {
        let result = Decoder::new(bytes).array(form, 1, Decoder::i8);

        assert!(matches!(result.unwrap_err().kind, DecodeErrorKind::ArrayTooLong { .. }), "{form:?}");
    }
    // Three elements of four bytes in eleven.
    let error = Decoder::new([&[0, 0, 0, 3][..], &[0; 11]].concat()).array(Form::Classic, 4, Decoder::i32);
    assert_eq!(error.unwrap_err().kind, DecodeErrorKind::ArrayTooLong { len: 3, remaining: 11 });
}

#[test]
fn an_array_starts_with_no_more_memory_than_there_are_bytes() {
    use super::decoder::first_capacity;

    assert_eq!(first_capacity::<u8>(10, 100), 10);
    assert_eq!(first_capacity::<[u64; 64]>(1000, 1000), 1);
    assert_eq!(first_capacity::<()>(7, 100), 7);
}

#[test]
fn tiny_elements_cannot_take_much_more_memory_than_the_message_has_bytes() {
    // Arrays of empty strings: one byte each, 24 in memory.
    let strings = |count: u32| {
        let mut bytes = encoded(|out| out.uvarint(count + 1));
        bytes.extend(vec![1; count as usize]);
        bytes
    };
    let decode = |bytes: Vec<u8>| {
        let mut input = Decoder::new(bytes);
        let mut total = 0;
        while input.remaining() > 0 {
            total += input.array(Form::Flexible, 1, |input| input.string(Form::Flexible))?.len();
        }
        Ok::<usize, DecodeError>(total)
    };

    assert_eq!(decode(strings(2000)), Ok(2000));
    assert!(matches!(decode(strings(20_000)).unwrap_err().kind, DecodeErrorKind::Memory { .. }));
    // In one array or in many, and inside tagged fields.
    let many = decode(strings(1000).repeat(100));
    assert!(matches!(many.unwrap_err().kind, DecodeErrorKind::Memory { .. }));
    let tagged = encoded(|out| {
        let mut tags = out.tagged_fields();
        for tag in 0..100 {
            tags.field(tag, |out| {
                out.raw(&strings(1000));
                Ok(())
            })
            .unwrap();
        }
    });
    let result = Decoder::new(tagged).tagged_fields(|_, input| {
        input.array(Form::Flexible, 1, |input| input.string(Form::Flexible))?;
        Ok(Tag::Known)
    });
    assert!(matches!(result.unwrap_err().kind, DecodeErrorKind::Memory { .. }));
}

#[test]
fn null_is_refused_where_there_is_none() {
    for form in FORMS {
        let (short, long) = match form {
            Form::Classic => (vec![0xff, 0xff], vec![0xff; 4]),
            Form::Flexible => (vec![0], vec![0]),
        };
        assert_eq!(Decoder::new(short).string(form).unwrap_err().kind, DecodeErrorKind::Null);
        assert_eq!(Decoder::new(long.clone()).bytes(form).unwrap_err().kind, DecodeErrorKind::Null);
        assert_eq!(Decoder::new(long.clone()).records(form).unwrap_err().kind, DecodeErrorKind::Null);
        assert_eq!(Decoder::new(long).array(form, 1, Decoder::i8).unwrap_err().kind, DecodeErrorKind::Null);
    }
}

#[test]
fn strings_have_at_most_32767_bytes() {
    let longest = "x".repeat(32767);
    let too_long = "x".repeat(32768);
    for form in FORMS {
        let bytes = encoded(|out| out.string(&longest, form).unwrap());
        assert_eq!(Decoder::new(bytes).string(form).as_deref(), Ok(longest.as_str()));
        assert_eq!(Encoder::new().string(&too_long, form), Err(EncodeError::TooLong(32768)));
    }
    let mut bytes = encoded(|out| out.uvarint(32769));
    bytes.extend_from_slice(too_long.as_bytes());
    let kind = Decoder::new(bytes).string(Form::Flexible).unwrap_err().kind;
    assert_eq!(kind, DecodeErrorKind::Length { len: 32768, max: 32767 });
}

#[test]
fn what_is_not_utf8_is_replaced() {
    let text = Decoder::new(b"\0\x03a\xffb".to_vec()).string(Form::Classic);
    let grown = [&i16::to_be_bytes(20_000)[..], &[0xff; 20_000]].concat();

    assert_eq!(text.as_deref(), Ok("a\u{fffd}b"));
    let kind = Decoder::new(grown).string(Form::Classic).unwrap_err().kind;
    assert_eq!(kind, DecodeErrorKind::Length { len: 60_000, max: 32767 });
}

#[test]
fn a_tagged_field_may_be_longer_than_its_size_in_one_byte() {
    for len in [0, 1, 126, 127, 128, 20_000] {
        let blob = vec![7; len];
        let bytes = encoded(|out| {
            let mut tags = out.tagged_fields();
            tags.field(0, |out| out.bytes(&blob, Form::Flexible)).unwrap();
            tags.field(300, |out| {
                out.i8(9);
                Ok(())
            })
            .unwrap();
        });
        let mut seen = Vec::new();
        let mut input = Decoder::new(bytes);

        input
            .tagged_fields(|tag, field| {
                seen.push((tag, field.rest()));
                if tag == 0 {
                    assert_eq!(field.bytes(Form::Flexible)?, blob);
                }
                Ok(if tag == 0 { Tag::Known } else { Tag::Unknown })
            })
            .unwrap();

        assert_eq!(seen.iter().map(|(tag, _)| *tag).collect::<Vec<_>>(), [0, 300]);
        input.finish().unwrap();
    }
}

#[test]
fn blobs_and_records_are_slices_of_the_input() {
    let input = Bytes::from(encoded(|out| out.bytes(b"abc", Form::Flexible).unwrap()));

    let Records::Memory(records) = Decoder::new(input.clone()).records(Form::Flexible).unwrap() else {
        panic!("decoding yields memory");
    };

    assert_eq!(records.as_ptr(), input[1..].as_ptr());
}

#[test]
fn many_records_become_a_segment_without_a_copy_and_few_do_not() {
    let many = Bytes::from(vec![1; 5000]);
    let file = FileRegion { file: Arc::new(vec![2u8; 100]), position: 10, len: 20 };
    let mut out = Encoder::framed();
    out.i32(9);
    out.records(&Records::Memory(Bytes::from_static(b"few")), Form::Classic).unwrap();
    out.records(&Records::Memory(many.clone()), Form::Classic).unwrap();
    out.records(&Records::File(file), Form::Flexible).unwrap();
    out.nullable_records(None, Form::Classic).unwrap();
    let len = out.len();

    let segments = out.finish_frame().unwrap();

    let [
        Segment::Bytes(head),
        Segment::Bytes(middle),
        Segment::Bytes(length),
        Segment::File(region),
        Segment::Bytes(tail),
    ] = segments.as_slice()
    else {
        panic!("{segments:?}");
    };
    assert_eq!(head[..4], (len as i32 - 4).to_be_bytes());
    assert_eq!(middle.as_ptr(), many.as_ptr());
    assert_eq!(
        (length.as_ref(), region.position, region.len, tail.as_ref()),
        (&[21][..], 10, 20, &[0xff; 4][..])
    );
    assert_eq!(segments.iter().map(Segment::len).sum::<usize>(), len);
}

#[test]
fn records_in_a_file_are_read_when_one_piece_is_asked_for() {
    let region = |len| FileRegion { file: Arc::new(b"0123456789".to_vec()), position: 3, len };
    let mut out = Encoder::new();
    out.records(&Records::File(region(4)), Form::Classic).unwrap();
    let mut beyond = Encoder::new();
    beyond.records(&Records::File(region(40)), Form::Classic).unwrap();

    assert_eq!(out.finish_to_vec().unwrap(), b"\0\0\0\x043456");
    assert_eq!(beyond.finish_to_vec(), Err(EncodeError::Read(std::io::ErrorKind::UnexpectedEof)));
}
