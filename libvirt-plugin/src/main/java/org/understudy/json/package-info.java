/** JSON one value a line: how daemons speak to each other and how the CLI speaks to its daemon. */
package org.understudy.json;
