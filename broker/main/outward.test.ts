import { expect, test } from 'vitest';
import type { Notice } from '../approvals/approval-view.ts';
import { bodyOf, MAX_NOTICE_BYTES, readNotice } from '../courier/notice.ts';
import { toNotice } from './outward.ts';

const NOTICE: Notice = {
  id: '0123456789abcdef0123456789abcdef:opened:1795248000000',
  kind: 'opened',
  at: '2026-11-21T08:00:00.000Z',
  approval: '0123456789abcdef0123456789abcdef',
  origin: 'example.org/lastmile/1',
  requester: 'spiffe://example.org/ns/treasury/sa/settle',
  operation: 'sign',
  key: 'treasury/settlement',
  rule: 'treasury-moves-funds',
  notAfter: '2026-11-21T08:15:00Z',
  approvals: 0,
  approvalsNeeded: 2,
  groups: ['treasury', 'board'],
  isEmergency: false,
  reason: 'what somebody wrote',
};

test('a notice leads to the approval, and says nothing that somebody wrote', () => {
  const notice = toNotice(NOTICE, 'https://approvals.example.org');
  expect(readNotice(bodyOf(notice))).toEqual(notice);
  expect(notice).toMatchObject({
    id: NOTICE.id,
    type: 'approval.opened',
    data: { groups: 'treasury board', needed: 2, url: `https://approvals.example.org/#${NOTICE.approval}` },
  });
  expect(bodyOf(notice)).not.toContain('somebody');
  expect(toNotice(NOTICE, undefined).data['url']).toBeUndefined();
});

test('a notice of the longest names is no longer than the courier takes', () => {
  const long = toNotice(
    {
      ...NOTICE,
      requester: `spiffe://${'x'.repeat(2039)}`,
      key: 'k'.repeat(255),
      rule: 'r'.repeat(63),
      groups: Array(32).fill('g'.repeat(63)) as string[],
    },
    `https://${'n'.repeat(253)}:65535`,
  );
  expect(Buffer.byteLength(bodyOf(long))).toBeLessThan(MAX_NOTICE_BYTES);
});

test.each<[Notice['kind'], string]>([
  ['reminder', 'approval.reminder'],
  ['approved', 'approval.approved'],
  ['rejected', 'approval.rejected'],
  ['withdrawn', 'approval.withdrawn'],
  ['expired', 'approval.expired'],
  ['emergency-used', 'emergency.used'],
])('%s is told as %s', (kind, type) => {
  expect(readNotice(bodyOf(toNotice({ ...NOTICE, kind }, undefined))).type).toBe(type);
});
