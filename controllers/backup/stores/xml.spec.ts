import fc from 'fast-check';
import { expect, it } from 'vitest';
import { xmlText, xmlValues } from './xml.ts';

it('takes out what is in an answer, escaped or not', () => {
  const xml =
    '<?xml version="1.0"?>\n<R xmlns="x"><Contents><Key>a&amp;b/&#xe9;&#39;&quot;</Key><Size>5</Size></Contents>\n<Contents><Key>c</Key></Contents><IsTruncated>false</IsTruncated></R>';
  expect(xmlValues(xml, 'Contents').map((entry) => xmlValues(entry, 'Key')[0])).toEqual(['a&b/é\'"', 'c']);
  expect(xmlValues(xml, 'Size')).toEqual(['5']);
  expect(xmlValues(xml, 'Missing')).toEqual([]);
  fc.assert(
    fc.property(fc.string(), (text) => {
      expect(xmlValues(`<A>${xmlText(text)}</A>`, 'A')).toEqual([text]);
    }),
  );
});
