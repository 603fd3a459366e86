//! The serde serializer behind [`encode::to`](super::encode::to).
//!
//! rmp-serde has one too; this one refuses map keys that are not text, checks the announced counts, and
//! writes a container of unknown length without a second buffer.

use rmp_serde::MSGPACK_EXT_STRUCT_NAME;
use serde::ser::{self, Serialize};

use super::encode::{EncodeError, Writer, length32};
use super::token::{self, Token};

pub(super) struct Serializer<'b> {
    writer: Writer<'b>,
    /// Length of the buffer before this value: offsets in errors count from here.
    base: usize,
}

impl<'b> Serializer<'b> {
    #[inline]
    pub(super) fn new(buffer: &'b mut Vec<u8>) -> Self {
        let base = buffer.len();
        Serializer { writer: Writer::new(buffer), base }
    }

    #[inline]
    fn open(&mut self, shape: Shape, announced: Option<usize>) -> Result<Container<'_, 'b>, EncodeError> {
        let start = self.writer.buffer().len();
        if let Some(count) = announced {
            shape.head(&mut self.writer, count)?;
        }
        Ok(Container { serializer: self, shape, announced, start, written: 0 })
    }

    #[inline]
    fn variant(&mut self, name: &str) -> Result<(), EncodeError> {
        self.writer.map(1).str(name).map(|_| ())
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Shape {
    Array,
    Map,
}

impl Shape {
    #[inline]
    fn head(self, writer: &mut Writer<'_>, count: usize) -> Result<(), EncodeError> {
        match self {
            Shape::Array => writer.array(length32("array", count)?),
            Shape::Map => writer.map(length32("map", count)?),
        };
        Ok(())
    }
}

/// An array or map whose elements are being written.
pub(super) struct Container<'s, 'b> {
    serializer: &'s mut Serializer<'b>,
    shape: Shape,
    announced: Option<usize>,
    start: usize,
    written: usize,
}

impl Container<'_, '_> {
    #[inline]
    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.written += 1;
        value.serialize(&mut *self.serializer)
    }

    #[inline]
    fn field<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), EncodeError> {
        self.serializer.writer.str(name)?;
        self.item(value)
    }

    #[inline]
    fn finish(self) -> Result<(), EncodeError> {
        let Container { serializer, shape, announced, start, written } = self;
        match announced {
            Some(announced) if announced != written => Err(EncodeError::CountMismatch { announced, written }),
            Some(_) => Ok(()),
            None => {
                // The head has one to five bytes depending on the count, so it is written last and rotated to
                // the front.
                let end = serializer.writer.buffer().len();
                shape.head(&mut serializer.writer, written)?;
                let buffer = serializer.writer.buffer();
                let head = buffer.len() - end;
                buffer[start..].rotate_right(head);
                Ok(())
            }
        }
    }
}

type Done = Result<(), EncodeError>;

impl<'s, 'b> ser::Serializer for &'s mut Serializer<'b> {
    type Ok = ();
    type Error = EncodeError;
    type SerializeSeq = Container<'s, 'b>;
    type SerializeTuple = Container<'s, 'b>;
    type SerializeTupleStruct = Container<'s, 'b>;
    type SerializeTupleVariant = Container<'s, 'b>;
    type SerializeMap = Container<'s, 'b>;
    type SerializeStruct = Container<'s, 'b>;
    type SerializeStructVariant = Container<'s, 'b>;

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    #[inline]
    fn serialize_bool(self, yes: bool) -> Done {
        self.writer.bool(yes);
        Ok(())
    }

    #[inline]
    fn serialize_i8(self, n: i8) -> Done {
        self.serialize_i64(i64::from(n))
    }

    #[inline]
    fn serialize_i16(self, n: i16) -> Done {
        self.serialize_i64(i64::from(n))
    }

    #[inline]
    fn serialize_i32(self, n: i32) -> Done {
        self.serialize_i64(i64::from(n))
    }

    #[inline]
    fn serialize_i64(self, n: i64) -> Done {
        self.writer.int(n);
        Ok(())
    }

    #[inline]
    fn serialize_i128(self, n: i128) -> Done {
        match (u64::try_from(n), i64::try_from(n)) {
            (Ok(n), _) => self.serialize_u64(n),
            (_, Ok(n)) => self.serialize_i64(n),
            _ => Err(EncodeError::IntegerTooBig { value: n.to_string() }),
        }
    }

    #[inline]
    fn serialize_u8(self, n: u8) -> Done {
        self.serialize_u64(u64::from(n))
    }

    #[inline]
    fn serialize_u16(self, n: u16) -> Done {
        self.serialize_u64(u64::from(n))
    }

    #[inline]
    fn serialize_u32(self, n: u32) -> Done {
        self.serialize_u64(u64::from(n))
    }

    #[inline]
    fn serialize_u64(self, n: u64) -> Done {
        self.writer.uint(n);
        Ok(())
    }

    #[inline]
    fn serialize_u128(self, n: u128) -> Done {
        match u64::try_from(n) {
            Ok(n) => self.serialize_u64(n),
            Err(_) => Err(EncodeError::IntegerTooBig { value: n.to_string() }),
        }
    }

    #[inline]
    fn serialize_f32(self, x: f32) -> Done {
        self.writer.f32(x);
        Ok(())
    }

    #[inline]
    fn serialize_f64(self, x: f64) -> Done {
        self.writer.f64(x);
        Ok(())
    }

    #[inline]
    fn serialize_char(self, c: char) -> Done {
        self.serialize_str(c.encode_utf8(&mut [0; 4]))
    }

    #[inline]
    fn serialize_str(self, text: &str) -> Done {
        self.writer.str(text).map(|_| ())
    }

    #[inline]
    fn serialize_bytes(self, bytes: &[u8]) -> Done {
        self.writer.bin(bytes).map(|_| ())
    }

    #[inline]
    fn serialize_none(self) -> Done {
        self.serialize_unit()
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Done {
        value.serialize(self)
    }

    #[inline]
    fn serialize_unit(self) -> Done {
        self.writer.nil();
        Ok(())
    }

    #[inline]
    fn serialize_unit_struct(self, _name: &'static str) -> Done {
        self.serialize_unit()
    }

    #[inline]
    fn serialize_unit_variant(self, _name: &'static str, _index: u32, variant: &'static str) -> Done {
        self.serialize_str(variant)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Done {
        if name == MSGPACK_EXT_STRUCT_NAME {
            return self.ext(value);
        }
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Done {
        self.variant(variant)?;
        value.serialize(self)
    }

    #[inline]
    fn serialize_seq(self, length: Option<usize>) -> Result<Container<'s, 'b>, EncodeError> {
        self.open(Shape::Array, length)
    }

    #[inline]
    fn serialize_tuple(self, length: usize) -> Result<Container<'s, 'b>, EncodeError> {
        self.open(Shape::Array, Some(length))
    }

    #[inline]
    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        length: usize,
    ) -> Result<Container<'s, 'b>, EncodeError> {
        self.open(Shape::Array, Some(length))
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Container<'s, 'b>, EncodeError> {
        self.variant(variant)?;
        self.open(Shape::Array, Some(length))
    }

    #[inline]
    fn serialize_map(self, length: Option<usize>) -> Result<Container<'s, 'b>, EncodeError> {
        self.open(Shape::Map, length)
    }

    #[inline]
    fn serialize_struct(self, _name: &'static str, length: usize) -> Result<Container<'s, 'b>, EncodeError> {
        self.open(Shape::Map, Some(length))
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Container<'s, 'b>, EncodeError> {
        self.variant(variant)?;
        self.open(Shape::Map, Some(length))
    }
}

impl Serializer<'_> {
    /// serde has no extension type; rmp-serde's convention is a newtype struct of a reserved name around (i8,
    /// bytes), and its own serializer is the one that understands it.
    fn ext<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        struct Ext<'v, T: ?Sized>(&'v T);
        impl<T: Serialize + ?Sized> Serialize for Ext<'_, T> {
            fn serialize<S: ser::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_newtype_struct(MSGPACK_EXT_STRUCT_NAME, self.0)
            }
        }
        rmp_serde::encode::write(self.writer.buffer(), &Ext(value)).map_err(ser::Error::custom)
    }
}

impl ser::SerializeSeq for Container<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        self.item(value)
    }

    #[inline]
    fn end(self) -> Done {
        self.finish()
    }
}

impl ser::SerializeTuple for Container<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        self.item(value)
    }

    #[inline]
    fn end(self) -> Done {
        self.finish()
    }
}

impl ser::SerializeTupleStruct for Container<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        self.item(value)
    }

    #[inline]
    fn end(self) -> Done {
        self.finish()
    }
}

impl ser::SerializeTupleVariant for Container<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        self.item(value)
    }

    #[inline]
    fn end(self) -> Done {
        self.finish()
    }
}

impl ser::SerializeMap for Container<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Done {
        let Serializer { base, .. } = *self.serializer;
        let at = self.serializer.writer.buffer().len();
        key.serialize(&mut *self.serializer)?;
        // Looking at what was written is shorter than a second serializer that only takes text.
        match token::read(&self.serializer.writer.buffer()[at..]) {
            Ok((Token::Str(_), _)) => Ok(()),
            _ => Err(EncodeError::KeyNotText { at: at - base }),
        }
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        self.item(value)
    }

    #[inline]
    fn end(self) -> Done {
        self.finish()
    }
}

impl ser::SerializeStruct for Container<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Done {
        self.field(key, value)
    }

    #[inline]
    fn end(self) -> Done {
        self.finish()
    }
}

impl ser::SerializeStructVariant for Container<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Done {
        self.field(key, value)
    }

    #[inline]
    fn end(self) -> Done {
        self.finish()
    }
}
