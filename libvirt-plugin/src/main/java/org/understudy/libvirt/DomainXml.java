package org.understudy.libvirt;

import java.io.StringReader;
import java.io.StringWriter;
import java.util.ArrayList;
import java.util.List;
import javax.xml.XMLConstants;
import javax.xml.parsers.DocumentBuilderFactory;
import javax.xml.parsers.ParserConfigurationException;
import javax.xml.transform.OutputKeys;
import javax.xml.transform.Transformer;
import javax.xml.transform.TransformerException;
import javax.xml.transform.TransformerFactory;
import javax.xml.transform.dom.DOMSource;
import javax.xml.transform.stream.StreamResult;
import javax.xml.xpath.XPathConstants;
import javax.xml.xpath.XPathExpressionException;
import javax.xml.xpath.XPathFactory;
import org.w3c.dom.Document;
import org.w3c.dom.Element;
import org.w3c.dom.Node;
import org.w3c.dom.NodeList;
import org.xml.sax.InputSource;
import org.xml.sax.SAXException;

/**
 * A piece of XML that libvirt wrote or will read, such as a {@code <domain>}. No document type, no
 * entities, nothing fetched. One thread at a time.
 */
final class DomainXml {
  /** Namespace of {@code <qemu:commandline>}. */
  static final String QEMU = "http://libvirt.org/schemas/domain/qemu/1.0";

  private final Document document;

  private DomainXml(Document document) {
    this.document = document;
  }

  /**
   * @throws LibvirtFault it is not well-formed, or has a document type
   */
  static DomainXml parse(String xml) throws LibvirtFault {
    try {
      DocumentBuilderFactory factory = DocumentBuilderFactory.newInstance();
      factory.setNamespaceAware(true);
      factory.setFeature(XMLConstants.FEATURE_SECURE_PROCESSING, true);
      factory.setFeature("http://apache.org/xml/features/disallow-doctype-decl", true);
      factory.setAttribute(XMLConstants.ACCESS_EXTERNAL_DTD, "");
      factory.setAttribute(XMLConstants.ACCESS_EXTERNAL_SCHEMA, "");
      factory.setXIncludeAware(false);
      factory.setExpandEntityReferences(false);
      var builder = factory.newDocumentBuilder();
      builder.setErrorHandler(null); // the exception says it; nothing on stderr
      return new DomainXml(builder.parse(new InputSource(new StringReader(xml))));
    } catch (SAXException | java.io.IOException e) {
      throw new LibvirtFault("XML that cannot be read: " + e.getMessage());
    } catch (ParserConfigurationException e) {
      throw new IllegalStateException("this JDK has no safe XML parser", e);
    }
  }

  Element root() {
    return document.getDocumentElement();
  }

  /** The domain's name, or an empty string. */
  String name() {
    return text("/domain/name");
  }

  /** All elements that an XPath names, from the root on. */
  List<Element> all(String path) {
    return all(document, path);
  }

  /** The same from an element on. */
  static List<Element> all(Node from, String path) {
    try {
      NodeList nodes =
          (NodeList)
              XPathFactory.newInstance().newXPath().evaluate(path, from, XPathConstants.NODESET);
      List<Element> found = new ArrayList<>();
      for (int i = 0; i < nodes.getLength(); i++) {
        found.add((Element) nodes.item(i));
      }
      return found;
    } catch (XPathExpressionException e) {
      throw new IllegalArgumentException("not an XPath: " + path, e);
    }
  }

  /** The text, or attribute, that an XPath names first; an empty string when there is none. */
  String text(String path) {
    return text(document, path);
  }

  /** The same from an element on. */
  static String text(Node from, String path) {
    try {
      return XPathFactory.newInstance().newXPath().evaluate(path, from).strip();
    } catch (XPathExpressionException e) {
      throw new IllegalArgumentException("not an XPath: " + path, e);
    }
  }

  /** One element and what it holds, as text. */
  static String text(Element element) {
    return write(element);
  }

  /** The whole as text. */
  String text() {
    return write(document);
  }

  private static String write(Node node) {
    try {
      TransformerFactory factory = TransformerFactory.newInstance();
      factory.setFeature(XMLConstants.FEATURE_SECURE_PROCESSING, true);
      Transformer transformer = factory.newTransformer();
      transformer.setOutputProperty(OutputKeys.OMIT_XML_DECLARATION, "yes");
      StringWriter text = new StringWriter();
      transformer.transform(new DOMSource(node), new StreamResult(text));
      return text.toString();
    } catch (TransformerException e) {
      throw new IllegalStateException("XML that cannot be written", e);
    }
  }
}
