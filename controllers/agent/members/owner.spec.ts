import { expect, test } from 'vitest';
import { firstFileOfTar, parseNumeric } from './owner.ts';

test.each([
  ['', { uid: 0, gid: 0 }],
  ['root', { uid: 0, gid: 0 }],
  ['1000', { uid: 1000, gid: 0 }],
  ['1000:2000', { uid: 1000, gid: 2000 }],
  ['mysql', undefined],
  ['mysql:999', undefined],
  ['1000:staff', undefined],
])('%j as a number is %j', (user, owner) => {
  expect(parseNumeric(user)).toEqual(owner);
});

function entry(type: string, content: string): Buffer {
  const header = Buffer.alloc(512);
  header.write('name', 0);
  header.write(`${content.length.toString(8).padStart(11, '0')}\0`, 124);
  header.write(type, 156);
  const body = Buffer.alloc(Math.ceil(content.length / 512) * 512);
  body.write(content);
  return Buffer.concat([header, body]);
}

test('the first file of an archive is found behind folders and extended headers', () => {
  const tar = Buffer.concat([entry('5', ''), entry('x', 'path=…'), entry('0', 'root:x:0:0\n'), entry('0', 'other'), Buffer.alloc(1024)]);
  expect(firstFileOfTar(tar)).toBe('root:x:0:0\n');
  expect(() => firstFileOfTar(Buffer.alloc(1024).fill(0, 0))).not.toThrow(TypeError);
  expect(() => firstFileOfTar(entry('5', ''))).toThrow(/without a file/);
});
