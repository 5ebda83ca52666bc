-- A shop of 500 products with 60,000 reviews, the same at every start.
CREATE TABLE product (id INTEGER PRIMARY KEY, name TEXT NOT NULL, category TEXT NOT NULL, price INTEGER NOT NULL);
CREATE TABLE review (id INTEGER PRIMARY KEY, product INTEGER NOT NULL REFERENCES product, stars INTEGER NOT NULL, text TEXT NOT NULL);
CREATE VIRTUAL TABLE review_text USING fts5 (text, content = 'review', content_rowid = 'id');

CREATE TEMP TABLE word (id INTEGER PRIMARY KEY, category TEXT, opinion TEXT);
INSERT INTO word VALUES
  (0, 'kettle', 'sturdy'), (1, 'lamp', 'elegant'), (2, 'chair', 'noisy'), (3, 'tent', 'light'),
  (4, 'bicycle', 'reliable'), (5, 'radio', 'fragile'), (6, 'clock', 'cheap'), (7, 'stove', 'handy');

WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
INSERT INTO product SELECT i, category || ' no. ' || i, category, 500 + i * 7919 % 20000 FROM n JOIN word ON id = i % 8;

WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
INSERT INTO review
SELECT i, 1 + i * 7919 % 500, 1 + i * 31 % 101 % 5, a.opinion || ' and ' || b.opinion || ', but ' || c.opinion
FROM n JOIN word a ON a.id = i % 8 JOIN word b ON b.id = i / 8 % 8 JOIN word c ON c.id = i / 64 % 8;

INSERT INTO review_text (review_text) VALUES ('rebuild');
