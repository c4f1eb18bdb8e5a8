# A boot sector that tries the disk it came from, by the BIOS, and says on the serial port what it
# found. After it on the disk: a sector to be written, and from sector 8 on SECTORS with a pattern.
  .code16
  .globl _start

  .set PATTERN_AT, 8
  .set SECTORS, 2048
  .set AT_ONCE, 64
  .set STEP, 0x9e3779b1  # from one word of the pattern to the next
  .set BUFFER, 0x2000    # a segment

_start:
  xorw %ax, %ax
  movw %ax, %ds
  movw %ax, %ss
  movw $0x7c00, %sp
  cld
  movb %dl, drive

  xorl %ebx, %ebx  # the word that is expected next
read:
  movb $0x42, %ah
  call disk
  movw $read_failed, %si
  jc end
  movw $BUFFER, %ax
  movw %ax, %es
  xorw %di, %di
  movw $(AT_ONCE * 512 / 4), %cx
compare:
  movw $read_wrong, %si
  cmpl %es:(%di), %ebx
  jne end
  addl $STEP, %ebx
  addw $4, %di
  loop compare
  addl $AT_ONCE, sector
  cmpl $(PATTERN_AT + SECTORS), sector
  jb read
  movw $read_right, %si
  call say

  # The last that was read, with its first byte changed, into the sector after this one.
  movl $1, sector
  movw $1, count
  movb $'W', %es:0
  movw $0x4300, %ax
  call disk
  movw $write_failed, %si
  jc end
  movw $write_done, %si
end:
  call say
  movb $0xfe, %al  # the keyboard controller's way to reset
  outb %al, $0x64
  hlt

# What %ah says, with the packet.
disk:
  movb drive, %dl
  movw $packet, %si
  int $0x13
  ret

# The line at %si.
say:
  movw $0x3f8, %dx
1:
  lodsb
  testb %al, %al
  jz 2f
  outb %al, %dx
  jmp 1b
2:
  ret

drive:
  .byte 0
  .balign 4
packet:
  .byte 16, 0
count:
  .word AT_ONCE
  .word 0, BUFFER
sector:
  .long PATTERN_AT, 0

read_right:
  .asciz "read: as it was written\n"
read_wrong:
  .asciz "read: something else\n"
read_failed:
  .asciz "read: failed\n"
write_done:
  .asciz "write: done\n"
write_failed:
  .asciz "write: failed\n"

  .org 510
  .word 0xaa55
