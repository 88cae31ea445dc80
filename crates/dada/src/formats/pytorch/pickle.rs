//! Reads a pickle as data: nothing it names is ever looked up or called.
//!
//! Objects lie in one list and refer to one another by place, as in Python by reference, so that a small hostile file can neither grow
//! nor recurse. A call of a global becomes a node that says so; whoever wants tensors looks for the few calls that make them. Only the
//! opcodes that `torch.save` and plain Python objects produce are known.

/// A place in the list of objects.
pub type Id = usize;

/// An object of a pickle.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// `None`
    None,
    /// `True` or `False`
    Bool(bool),
    /// An integer of at most 64 bits
    Int(i64),
    /// A longer one
    Long,
    /// A float
    Float,
    /// A string
    Text(String),
    /// A byte string
    Bytes,
    /// A tuple
    Tuple(Vec<Id>),
    /// A list or set
    List(Vec<Id>),
    /// A dictionary, `OrderedDict` too
    Dict(Vec<(Id, Id)>),
    /// `module.name`
    Global(String),
    /// A function or class and its arguments
    Call(Id, Id),
    /// A reference to something outside the pickle
    Persistent(Id),
}

/// All objects of a pickle.
#[derive(Debug)]
pub struct Pickle {
    nodes: Vec<Node>,
    /// The object that was pickled.
    pub root: Id,
    /// How many bytes it took: another pickle may follow.
    pub length: usize,
}

impl Pickle {
    /// The object at a place.
    pub fn node(&self, id: Id) -> &Node {
        &self.nodes[id]
    }

    /// All of them.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter()
    }

    /// What a dictionary has for a text.
    pub fn get(&self, dict: Id, key: &str) -> Option<Id> {
        let Node::Dict(entries) = self.node(dict) else { return None };
        entries.iter().rfind(|(name, _)| matches!(self.node(*name), Node::Text(text) if text == key)).map(|&(_, value)| value)
    }

    /// The entries of a tuple.
    pub fn tuple(&self, id: Id) -> Option<&[Id]> {
        match self.node(id) {
            Node::Tuple(entries) => Some(entries),
            _ => None,
        }
    }

    /// A length or a place.
    pub fn count(&self, id: Id) -> Option<usize> {
        match self.node(id) {
            Node::Int(value) => usize::try_from(*value).ok(),
            _ => None,
        }
    }
}

/// Reads the first pickle in `bytes`.
///
/// # Errors
/// What is wrong with it, and at which byte.
pub fn read(bytes: &[u8]) -> Result<Pickle, String> {
    let mut machine = Machine { bytes, at: 0, nodes: Vec::new(), stack: Vec::new(), marks: Vec::new(), memo: Vec::new() };
    let root = machine.run().map_err(|problem| format!("pickle byte {}: {problem}", machine.at))?;
    Ok(Pickle { root, length: machine.at, nodes: machine.nodes })
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: Vec<Option<Id>>,
}

impl Machine<'_> {
    fn run(&mut self) -> Result<Id, String> {
        loop {
            let opcode = self.take(1)?[0];
            match opcode {
                b'.' => return self.pop(),
                0x80 => _ = self.take(1)?,
                0x95 => _ = self.take(8)?,
                b'(' => self.marks.push(self.stack.len()),
                b'0' => _ = self.pop()?,
                b'1' => _ = self.pop_to_mark()?,
                b'2' => {
                    let top = self.top()?;
                    self.stack.push(top);
                }
                b'N' => self.push(Node::None),
                0x88 => self.push(Node::Bool(true)),
                0x89 => self.push(Node::Bool(false)),
                b'K' => self.push_int(1)?,
                b'M' => self.push_int(2)?,
                b'J' => {
                    let value = self.take(4)?.try_into().map(i32::from_le_bytes).expect("four bytes");
                    self.push(Node::Int(value.into()));
                }
                0x8a => self.long(1)?,
                0x8b => self.long(4)?,
                b'G' => {
                    self.take(8)?;
                    self.push(Node::Float);
                }
                b'X' => self.text(4)?,
                0x8c => self.text(1)?,
                0x8d => self.text(8)?,
                b'U' => self.text(1)?,
                b'T' => self.text(4)?,
                b'C' => self.blob(1)?,
                b'B' => self.blob(4)?,
                0x8e => self.blob(8)?,
                b')' => self.push(Node::Tuple(Vec::new())),
                b't' => {
                    let entries = self.pop_to_mark()?;
                    self.push(Node::Tuple(entries));
                }
                0x85..=0x87 => {
                    let count = usize::from(opcode - 0x84);
                    let start = self.stack.len().checked_sub(count).ok_or("stack is empty")?;
                    let entries = self.stack.split_off(start);
                    self.push(Node::Tuple(entries));
                }
                b']' | 0x8f => self.push(Node::List(Vec::new())),
                b'l' => {
                    let entries = self.pop_to_mark()?;
                    self.push(Node::List(entries));
                }
                b'a' => {
                    let value = self.pop()?;
                    self.append(vec![value])?;
                }
                b'e' | 0x90 => {
                    let values = self.pop_to_mark()?;
                    self.append(values)?;
                }
                b'}' => self.push(Node::Dict(Vec::new())),
                b'd' => {
                    let entries = self.pop_to_mark()?;
                    self.push(Node::Dict(Vec::new()));
                    self.set(&entries)?;
                }
                b's' => {
                    let value = self.pop()?;
                    let key = self.pop()?;
                    self.set(&[key, value])?;
                }
                b'u' => {
                    let entries = self.pop_to_mark()?;
                    self.set(&entries)?;
                }
                b'q' => {
                    let place = self.unsigned(1)?;
                    self.remember(place)?;
                }
                b'r' => {
                    let place = self.unsigned(4)?;
                    self.remember(place)?;
                }
                0x94 => self.remember(self.memo.len())?,
                b'h' => self.recall(1)?,
                b'j' => self.recall(4)?,
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.push(Node::Global(format!("{module}.{name}")));
                }
                0x93 => {
                    let (name, module) = (self.pop()?, self.pop()?);
                    let (Node::Text(module), Node::Text(name)) = (&self.nodes[module], &self.nodes[name]) else {
                        return Err("a global without a name".to_owned());
                    };
                    let global = format!("{module}.{name}");
                    self.push(Node::Global(global));
                }
                b'R' | 0x81 => {
                    let arguments = self.pop()?;
                    let function = self.pop()?;
                    self.push_call(function, arguments);
                }
                // An object's attributes: of what is read here only dictionaries matter, and their entries come by other opcodes.
                b'b' => _ = self.pop()?,
                b'Q' => {
                    let reference = self.pop()?;
                    self.push(Node::Persistent(reference));
                }
                other => return Err(format!("opcode {other:#04x} does not belong to a state dict")),
            }
        }
    }

    fn take(&mut self, count: usize) -> Result<&[u8], String> {
        let rest = &self.bytes[self.at..];
        if rest.len() < count {
            return Err(format!("ends {} bytes too early", count - rest.len()));
        }
        self.at += count;
        Ok(&rest[..count])
    }

    fn unsigned(&mut self, width: usize) -> Result<usize, String> {
        let mut value = [0; 8];
        value[..width].copy_from_slice(self.take(width)?);
        usize::try_from(u64::from_le_bytes(value)).map_err(|_| "a length beyond this machine's".to_owned())
    }

    fn line(&mut self) -> Result<String, String> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|&byte| byte == b'\n').ok_or("a name without an end")?;
        self.at += length + 1;
        String::from_utf8(rest[..length].to_vec()).map_err(|_| "a name that is not text".to_owned())
    }

    fn text(&mut self, width: usize) -> Result<(), String> {
        let length = self.unsigned(width)?;
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.push(Node::Text(text));
        Ok(())
    }

    fn blob(&mut self, width: usize) -> Result<(), String> {
        let length = self.unsigned(width)?;
        self.take(length)?;
        self.push(Node::Bytes);
        Ok(())
    }

    fn push_int(&mut self, width: usize) -> Result<(), String> {
        let value = self.unsigned(width)? as i64;
        self.push(Node::Int(value));
        Ok(())
    }

    fn long(&mut self, width: usize) -> Result<(), String> {
        let length = self.unsigned(width)?;
        let bytes = self.take(length)?;
        let node = if length <= 8 {
            let negative = bytes.last().is_some_and(|&byte| byte >= 0x80);
            let mut value = [if negative { 0xff } else { 0 }; 8];
            value[..length].copy_from_slice(bytes);
            Node::Int(i64::from_le_bytes(value))
        } else {
            Node::Long
        };
        self.push(node);
        Ok(())
    }

    fn push(&mut self, node: Node) {
        self.stack.push(self.nodes.len());
        self.nodes.push(node);
    }

    fn push_call(&mut self, function: Id, arguments: Id) {
        let ordered = matches!(&self.nodes[function], Node::Global(name) if name == "collections.OrderedDict");
        self.push(if ordered { Node::Dict(Vec::new()) } else { Node::Call(function, arguments) });
    }

    fn top(&self) -> Result<Id, String> {
        self.stack.last().copied().ok_or_else(|| "stack is empty".to_owned())
    }

    fn pop(&mut self) -> Result<Id, String> {
        self.stack.pop().ok_or_else(|| "stack is empty".to_owned())
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().filter(|&mark| mark <= self.stack.len()).ok_or("no mark")?;
        Ok(self.stack.split_off(mark))
    }

    fn append(&mut self, values: Vec<Id>) -> Result<(), String> {
        let top = self.top()?;
        if let Node::List(entries) = &mut self.nodes[top] {
            entries.extend(values);
        }
        Ok(())
    }

    fn set(&mut self, pairs: &[Id]) -> Result<(), String> {
        let top = self.top()?;
        if let Node::Dict(entries) = &mut self.nodes[top] {
            entries.extend(pairs.chunks_exact(2).map(|pair| (pair[0], pair[1])));
        }
        Ok(())
    }

    fn remember(&mut self, place: usize) -> Result<(), String> {
        let top = self.top()?;
        // Pickles count their places: a place beyond the bytes read so far is no pickle's.
        if place > self.at {
            return Err(format!("memo place {place} out of order"));
        }
        if place >= self.memo.len() {
            self.memo.resize(place + 1, None);
        }
        self.memo[place] = Some(top);
        Ok(())
    }

    fn recall(&mut self, width: usize) -> Result<(), String> {
        let place = self.unsigned(width)?;
        let id = self.memo.get(place).copied().flatten().ok_or_else(|| format!("memo place {place} is empty"))?;
        self.stack.push(id);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_command_is_data() {
        // What pickle.dumps makes of an object whose __reduce__ is (os.system, ("touch /tmp/x",)).
        let pickle = read(b"\x80\x02cposix\nsystem\nq\x00X\x0c\x00\x00\x00touch /tmp/xq\x01\x85q\x02Rq\x03.").unwrap();
        let &Node::Call(function, arguments) = pickle.node(pickle.root) else { panic!("{pickle:?}") };
        assert_eq!(pickle.node(function), &Node::Global("posix.system".to_owned()));
        assert_eq!(pickle.tuple(arguments).unwrap().len(), 1);
    }

    #[test]
    fn a_dictionary_is_one_object_wherever_it_is_referred_to() {
        // d = {}; (d, d) with d["a"] = 300 set after d was remembered
        let pickle = read(b"\x80\x02}q\x00X\x01\x00\x00\x00aM\x2c\x01sh\x00\x86.").unwrap();
        let entries = pickle.tuple(pickle.root).unwrap();
        assert_eq!(entries[0], entries[1]);
        assert_eq!(pickle.count(pickle.get(entries[1], "a").unwrap()), Some(300));
    }

    #[test]
    fn long_integers() {
        let root = |bytes: &[u8]| {
            let pickle = read(bytes).unwrap();
            pickle.node(pickle.root).clone()
        };
        assert_eq!(root(b"\x8a\x01\xff."), Node::Int(-1));
        assert_eq!(root(b"\x8a\x00."), Node::Int(0));
        assert_eq!(root(b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."), Node::Long);
    }

    #[test]
    fn what_is_cut_short_or_unknown_is_an_error() {
        for bytes in [
            &b""[..],
            b".",
            b"X\xff\xff\xff\xffabc",
            b"h\x00.",
            b"e.",
            b"r\xff\xff\xff\xff.",
            b"Nr\xff\xff\xff\xff.",
            b"cos",
            b"i",
            b"\x86.",
        ] {
            assert!(read(bytes).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_a_result(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            _ = read(&bytes);
        }
    }
}
