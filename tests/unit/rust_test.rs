// What the Rust module says of every release, in lines that rust_test.py compares. That adds
// functions that show all records, bit-fields and constants of each release.
#![deny(warnings)]

use core::any::type_name;
use core::mem::{align_of, size_of};
use core::ptr::addr_of;
use xen::{Count, Hypercall, Pointer, Ref, Test};

fn show(what: &str, name: &str, numbers: &[usize]) {
    println!("{} {} {:?}", what, name, numbers);
}

fn show_member<T>(name: &str, record: *const u8, member: *const T) {
    // Of scalars and arrays of them.
    let type_ = Some(type_name::<T>()).filter(|name| !name.contains("::")).unwrap_or("record");
    let offset = member as usize - record as usize;
    println!("member {} [{}, {}] {}", name, offset, size_of::<T>(), type_);
}

fn constant<T: core::fmt::Display>(name: &str, value: T) {
    println!("constant {} {} {}", name, value, type_name::<T>());
}

fn bytes(record: *const u8, size: usize) -> Vec<u8> {
    unsafe { core::slice::from_raw_parts(record, size) }.to_vec()
}

// Size and alignment; offset and size of each member.
macro_rules! record {
    ($name:literal $type:ident $($member_name:literal $member:ident)*) => {
        show("record", $name, &[size_of::<$type>(), align_of::<$type>()]);
        let record = $type::default();
        let _start = addr_of!(record);
        $(show_member($member_name, _start.cast(), unsafe { addr_of!((*_start).$member) });)*
    };
}

// What becomes of the bytes of a record of zeros when a bit-field in it is set, and of those of a
// record of ones when it is cleared.
macro_rules! bits {
    ($type:ident $get:ident $set:ident $width:literal) => {
        let name = concat!(stringify!($type), ".", stringify!($get));
        let mut record = $type::zeroed();
        record.$set(!0);
        println!("bits {} {:?}", name, bytes(addr_of!(record).cast(), size_of::<$type>()));
        assert_eq!(u64::from(record.$get()), u64::MAX >> (64 - $width));
        record = unsafe { core::mem::transmute([0xffu8; size_of::<$type>()]) };
        record.$set(0);
        println!("cleared {} {:?}", name, bytes(addr_of!(record).cast(), size_of::<$type>()));
        assert_eq!(record.$get(), 0);
    };
}

fn place(field: Option<Ref>) -> String {
    field.map_or("-".to_string(), |field| format!("{}:{}", field.offset, field.size))
}

fn counted(count: Count) -> String {
    match count {
        Count::Number { a, b, scale, per, more } => {
            format!("number {} {} {} {} {}", place(a), place(b), scale, per, more)
        }
        Count::Range { a, b } => format!("range {} {}", place(a), place(b)),
        Count::UntilZero { a } => format!("until_zero {}", place(a)),
        Count::Inside { at, per, scale, least } => {
            format!("inside {} {} {} {}", at, per, scale, least)
        }
        Count::None | Count::Text | Count::Returned | Count::Vcpus => format!("{:?}", count),
    }
}

fn tested(test: &Test) -> String {
    format!("{}:{:?}:{}:{}", test.field.offset, test.values, test.is_flags, test.is_not)
}

fn show_pointers(place: &str, pointers: &[Pointer]) {
    for p in pointers {
        let when: Vec<String> = p.when.iter().map(tested).collect();
        print!("pointer {} {} {} {:?} {:?} ", place, p.path, p.offset, p.direction, p.phase);
        print!("{} [{}] {} ", p.element_size, counted(p.count), p.most);
        print!("[{}] [{}] {} ", counted(p.filled), when.join(" "), p.may_be_null);
        println!("{} {} {} {}", p.second_null, p.flags, p.is_trailing, p.is_kept);
        show_pointers(&format!("{}.{}*", place, p.path), p.inside);
    }
}

fn show_ops(hypercalls: &[Hypercall]) {
    for call in hypercalls {
        for op in call.ops {
            let name = format!("{}.{}", call.name, op.name);
            println!("op {} {} {} {}", call.number, name, op.number, op.argument_size);
            show_pointers(&format!("{}:registers", name), op.registers);
            show_pointers(&format!("{}:argument", name), op.pointers);
            show_pointers(&format!("{}:buffers", name), op.buffers);
        }
    }
}

macro_rules! release {
    ($name:literal $module:ident $($part:ident)*) => {
        println!("release {}", $name);
        $($part();)*
        show_ops(xen::$module::HYPERCALLS);
    };
}

fn main() {
    show_releases();
}
