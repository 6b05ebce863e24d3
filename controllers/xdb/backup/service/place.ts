export { accountOf, backupKeys, historyOf, type Place, placeOf, VOLUME } from '#backup/place.ts';
